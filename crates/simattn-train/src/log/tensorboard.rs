//! TensorBoard's event file: scalars as protobuf messages in TFRecord frames.
//!
//! A record is the length of the message (8 bytes, little-endian), the masked CRC-32C of those 8
//! bytes, the message, and the masked CRC-32C of the message.

use super::crc32c::masked;

/// Bytes of a record that are not its message.
const FRAME: usize = 16;

/// The record that opens a file.
pub(super) fn opening(wall_time: f64) -> Vec<u8> {
    let mut event = event(wall_time, 0);
    field_bytes(&mut event, 3, b"brain.Event:2");
    record(&event)
}

/// A record with the scalars of one step.
pub(super) fn scalars(wall_time: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut message = Vec::new();
        field_bytes(&mut message, 1, tag.as_bytes());
        // `simple_value`, a 32-bit float.
        message.push(2 << 3 | 5);
        message.extend((*value as f32).to_le_bytes());
        field_bytes(&mut summary, 1, &message);
    }
    let mut event = event(wall_time, step);
    field_bytes(&mut event, 5, &summary);
    record(&event)
}

/// How many of the bytes are whole records with right checksums.
pub(super) fn whole_records(bytes: &[u8]) -> usize {
    let mut good = 0;
    while let Some(length) = record_length(&bytes[good..]) {
        good += length;
    }
    good
}

/// The length of the record that the bytes begin with.
fn record_length(bytes: &[u8]) -> Option<usize> {
    let number = |at: usize| -> Option<u32> {
        let bytes = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let head = bytes.get(..8)?;
    if number(8)? != masked(head) {
        return None;
    }
    let length = usize::try_from(u64::from_le_bytes(head.try_into().ok()?)).ok()?;
    let end = length.checked_add(12)?;
    if number(end)? != masked(bytes.get(12..end)?) {
        return None;
    }
    Some(length + FRAME)
}

/// An `Event` with its time in seconds since 1970 and its step.
fn event(wall_time: f64, step: u64) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(wall_time.to_le_bytes());
    if step > 0 {
        event.push(2 << 3);
        varint(&mut event, step);
    }
    event
}

/// A field that holds bytes: a string or a message.
fn field_bytes(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend(bytes);
}

/// Seven bits at a time, the lowest first; the highest bit says that more follow.
fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + FRAME);
    record.extend(length);
    record.extend(masked(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked(message).to_le_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_the_protobuf_message_byte_for_byte() {
        let record = scalars(1.0, 300, &[("loss", 0.5)]);
        let message: &[u8] = &[
            0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, // wall_time = 1.0
            0x10, 0xac, 0x02, // step = 300
            0x2a, 13, // summary
            0x0a, 11, // value
            0x0a, 4, b'l', b'o', b's', b's', // tag
            0x15, 0, 0, 0, 0x3f, // simple_value = 0.5
        ];
        assert_eq!(&record[12..record.len() - 4], message);
        assert_eq!(record[..8], (message.len() as u64).to_le_bytes());
        let opening = opening(0.0);
        assert!(
            opening[12..]
                .windows(13)
                .any(|bytes| bytes == b"brain.Event:2")
        );
    }

    #[test]
    fn a_cut_or_changed_file_counts_up_to_the_last_good_record() {
        let mut file = opening(1.0);
        let first = file.len();
        file.extend(scalars(2.0, 1, &[("loss", 3.0), ("learning_rate", 1e-3)]));
        let second = file.len();
        file.extend(scalars(3.0, 2, &[("loss", 2.0)]));
        assert_eq!(whole_records(&file), file.len());
        for length in 0..file.len() {
            let expected = match length {
                length if length < first => 0,
                length if length < second => first,
                _ => second,
            };
            assert_eq!(whole_records(&file[..length]), expected, "{length}");
        }
        for bit in 8 * first..8 * second {
            let mut changed = file.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(whole_records(&changed), first, "bit {bit}");
        }
    }
}
