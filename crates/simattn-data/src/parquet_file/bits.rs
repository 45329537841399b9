//! Numbers that are not whole bytes.

/// Takes a number whose bytes hold seven bits each, the lowest first.
pub(super) fn take_varint(data: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = data.split_first()?;
        *data = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The number with a sign that such a number encodes.
pub(super) fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// At most 32 bits from the bit `at` on, the lowest first; zeros behind the end.
pub(super) fn bits_at(data: &[u8], at: usize, bits: u32) -> u64 {
    let mut bytes = [0; 8];
    for (byte, &read) in bytes.iter_mut().zip(data.iter().skip(at / 8)) {
        *byte = read;
    }
    (u64::from_le_bytes(bytes) >> (at % 8)) & ((1 << bits) - 1)
}
