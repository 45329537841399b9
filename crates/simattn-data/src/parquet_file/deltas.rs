//! Lengths that are written as differences (`DELTA_BINARY_PACKED`).

use super::bits::{bits_at, signed, take_varint};

/// What comes before the differences.
struct Head<'a> {
    /// Values in a block, and parts that each block has.
    block: u64,
    parts: u64,
    count: u64,
    first: i64,
    rest: &'a [u8],
}

impl<'a> Head<'a> {
    fn read(mut data: &'a [u8]) -> Option<Self> {
        Some(Self {
            block: take_varint(&mut data)?,
            parts: take_varint(&mut data)?,
            count: take_varint(&mut data)?,
            first: signed(take_varint(&mut data)?),
            rest: data,
        })
    }
}

/// How many lengths there are said to be.
pub(super) fn count(data: &[u8]) -> Option<u64> {
    Head::read(data).map(|head| head.count)
}

/// The sum of all lengths, and what comes after them. `None` where they are damaged. A length
/// below zero counts nothing; the library refuses it.
pub(super) fn sum(data: &[u8]) -> Option<(u64, &[u8])> {
    let Head {
        block,
        parts,
        count,
        first,
        mut rest,
    } = Head::read(data)?;
    let in_part = block.checked_div(parts)?;
    let mut length = i32::try_from(first).ok()?;
    let mut sum = 0_u64;
    let mut left = count;
    let mut add = |length: i32, times: u64| {
        sum = sum.saturating_add(u64::from(length.max(0).unsigned_abs()).saturating_mul(times));
    };
    if left > 0 {
        add(length, 1);
        left -= 1;
    }
    while left > 0 {
        let least = i32::try_from(signed(take_varint(&mut rest)?)).ok()?;
        let (widths, behind) = rest.split_at_checked(usize::try_from(parts).ok()?)?;
        rest = behind;
        for &width in widths {
            let values = left.min(in_part);
            if values == 0 {
                break;
            }
            if width > 32 {
                return None;
            }
            let bytes = usize::try_from(in_part.checked_mul(width.into())? / 8).ok()?;
            let (part, behind) = rest.split_at_checked(bytes)?;
            match (width, least) {
                (0, 0) => add(length, values),
                _ => {
                    for value in 0..values as usize {
                        let more = bits_at(part, value * usize::from(width), width.into()) as u32;
                        length = length.wrapping_add(least).wrapping_add(more as i32);
                        add(length, 1);
                    }
                }
            }
            rest = behind;
            left -= values;
        }
        // A block without values would not end.
        if in_part == 0 {
            return None;
        }
    }
    Some((sum, rest))
}

#[cfg(test)]
mod tests {
    use super::{count, sum};

    /// By the format's own description: blocks of 128 in 4 parts, 5 lengths that begin with 7 and
    /// differ by -2, -2, -2, 1: the least is -2, the others stand above it in two bits.
    #[test]
    fn lengths_add_up_as_the_format_describes_them() {
        let mut data = vec![0x80, 0x01, 4, 5, 14, 3, 2, 0, 0, 0];
        data.extend([0b1100_0000, 0, 0, 0, 0, 0, 0, 0, 9, 9]);
        assert_eq!(count(&data), Some(5));
        assert_eq!(sum(&data), Some((7 + 5 + 3 + 1 + 2, &[9, 9][..])));
        assert_eq!(sum(&data[..12]), None);
        assert_eq!(sum(&[0, 4, 5, 14, 3, 2, 0, 0, 0]), None);
        assert_eq!(sum(&[0x80, 0x01, 0, 5, 14]), None);
    }
}
