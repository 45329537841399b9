//! How many values the rows of a column with lists hold.

use super::bits::{bits_at, take_varint};

/// Rows that the library reads at once.
pub(super) const BATCH: u64 = 1024;

/// Hands over each run of equal levels, `left` in all: the level, and how often it occurs there.
/// What the bytes do not hold is missing; the library refuses it.
pub(super) fn runs(mut data: &[u8], bits: u32, mut left: u64, mut run: impl FnMut(u64, u64)) {
    while left > 0 {
        let Some(header) = take_varint(&mut data).filter(|&header| header > 0) else {
            break;
        };
        let count = header >> 1;
        if header & 1 == 0 {
            let Some((level, rest)) = data.split_at_checked(bits.div_ceil(8) as usize) else {
                break;
            };
            data = rest;
            let count = count.min(left);
            run(bits_at(level, 0, bits), count);
            left -= count;
        } else {
            // Groups of eight; of the last one a part may be missing.
            let bytes = count.saturating_mul(bits.into()).min(data.len() as u64) as usize;
            let (packed, rest) = data.split_at(bytes);
            data = rest;
            let values = (bytes as u64 * 8 / u64::from(bits)).min(left);
            for value in 0..values as usize {
                run(bits_at(packed, value * bits as usize, bits), 1);
            }
            left -= values;
        }
    }
}

/// Counts rows and their values by the levels at which values are repeated: zero begins a row.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Rows that have begun.
    pub(super) begun: u64,
    /// Values of the rows that are read at once, up to here, and the most there were.
    together: u64,
    pub(super) most_together: u64,
    /// Values of the last row, up to here, and the most that a row had.
    in_row: u64,
    pub(super) most_in_row: u64,
}

impl Records {
    pub(super) fn add(&mut self, level: u64, count: u64) {
        if level > 0 {
            self.together = self.together.saturating_add(count);
            self.in_row = self.in_row.saturating_add(count);
        } else if count > 0 {
            // Rows that are read together with the last one.
            let room = if self.begun == 0 {
                BATCH
            } else {
                BATCH - 1 - (self.begun - 1) % BATCH
            };
            self.begun = self.begun.saturating_add(count);
            let more = self.together.saturating_add(count.min(room));
            self.most_together = self.most_together.max(more);
            self.together = if count <= room {
                more
            } else {
                (self.begun - 1) % BATCH + 1
            };
            self.in_row = 1;
        }
        self.most_together = self.most_together.max(self.together);
        self.most_in_row = self.most_in_row.max(self.in_row);
    }

    /// A page of values that may all be those of one row.
    pub(super) fn add_page(&mut self, count: u64) {
        self.most_together = self.most_together.max(count);
        self.most_in_row = self.most_in_row.max(count);
    }
}

#[cfg(test)]
mod tests {
    use super::{BATCH, Records, runs};

    #[test]
    fn rows_are_counted_across_the_batches_in_which_they_are_read() {
        let mut records = Records::default();
        // A row of three, then rows of one, up to the second row of the second batch, of ten.
        records.add(0, 1);
        records.add(1, 2);
        records.add(0, BATCH + 1);
        records.add(1, 9);
        assert_eq!(records.begun, BATCH + 2);
        assert_eq!(records.most_together, BATCH + 2);
        assert_eq!((records.together, records.most_in_row), (11, 10));
    }

    #[test]
    fn runs_end_with_the_levels_that_were_promised() {
        let read = |data: &[u8], left| {
            let mut all = Vec::new();
            runs(data, 1, left, |level, count| all.push((level, count)));
            all
        };
        // Five ones; then a group of eight, of which three are asked for.
        assert_eq!(
            read(&[10, 1, 3, 0b101], 8),
            [(1, 5), (1, 1), (0, 1), (1, 1)]
        );
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0e, 1], 3).len(), 3);
        assert_eq!(read(&[0xfe, 0xff, 0xff, 0xff, 0x0f, 1], 3), [(1, 3)]);
        assert_eq!(read(&[0, 1], 3), []);
        assert_eq!(read(&[10], 3), []);
    }
}
