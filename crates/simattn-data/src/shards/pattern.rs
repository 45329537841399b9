//! What numbers without a header seem to be, by where the zeros among them stand.

use super::header::Width;

/// Ids below which nothing is concluded.
const LEAST: u64 = 8;

/// What is seen of all numbers of a file, taken as ids of one width.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    width: Width,
    seen: u64,
    /// The largest of those whose place leaves 0, 1, 2 and 3 when divided by 4.
    largest: [u32; 4],
    /// The largest, its bytes in the other order.
    swapped: u32,
    /// Whether all of them, two 16-bit ones together, are whole floating-point numbers.
    whole_floats: bool,
}

impl Pattern {
    pub(super) fn new(width: Width) -> Self {
        Self {
            width,
            seen: 0,
            largest: [0; 4],
            swapped: 0,
            whole_floats: true,
        }
    }

    /// Takes the next ids; their number is a multiple of 4, unless they are the last.
    pub(super) fn note(&mut self, ids: &[u32]) {
        debug_assert!(self.seen.is_multiple_of(4));
        self.seen += ids.len() as u64;
        for (at, &id) in ids.iter().enumerate() {
            self.largest[at % 4] = self.largest[at % 4].max(id);
        }
        let swap = |id: &u32| match self.width {
            Width::U16 => id.swap_bytes() >> 16,
            Width::U32 => id.swap_bytes(),
        };
        self.swapped = ids.iter().map(swap).fold(self.swapped, u32::max);
        self.whole_floats = self.whole_floats
            && match self.width {
                Width::U16 => {
                    (ids.as_chunks().0.iter()).all(|&[low, high]| is_whole_float(low | high << 16))
                }
                Width::U32 => ids.iter().copied().all(is_whole_float),
            };
    }

    /// What the numbers seem to be where they are no ids of this width: where `beyond` of them are
    /// not below `vocabulary`, or where upper halves are all zero.
    pub(super) fn stranger(&self, vocabulary: usize, beyond: u64) -> Option<&'static str> {
        const WIDE: &str = "64-bit numbers";
        const WIDE_SWAPPED: &str = "64-bit numbers, floating-point or high byte first (big-endian)";
        if self.seen < LEAST {
            return None;
        }
        let zero = self.largest.map(|largest| largest == 0);
        let by_zeros = match (self.width, zero) {
            (_, [true, true, true, true]) => Some("nothing but zeros, as an array never filled"),
            (Width::U16, [_, _, true, true]) => Some(WIDE),
            (Width::U16, [_, true, _, true]) => Some("32-bit numbers"),
            (Width::U16, [true, true, _, _]) => Some(WIDE_SWAPPED),
            (Width::U16, [true, _, true, _]) => {
                Some("32-bit numbers with the high byte first (big-endian)")
            }
            (Width::U32, [_, true, _, true]) => Some(WIDE),
            (Width::U32, [true, _, true, _]) => Some(WIDE_SWAPPED),
            _ => None,
        };
        let by_value = || match self.width {
            _ if self.whole_floats => Some("32-bit floating-point numbers"),
            _ if beyond == 0 => None,
            Width::U16 if (self.swapped as usize) < vocabulary => {
                Some("16-bit numbers with the high byte first (big-endian)")
            }
            Width::U32 if (self.swapped as usize) < vocabulary => {
                Some("32-bit numbers with the high byte first (big-endian)")
            }
            // Upper halves of a vocabulary of less than a million.
            Width::U16 if self.largest[1].max(self.largest[3]) < 16 => Some("32-bit numbers"),
            // Two ids read as one are beyond any vocabulary almost always.
            Width::U32 if beyond > self.seen / 2 => Some("16-bit numbers"),
            _ => None,
        };
        by_zeros.or_else(by_value)
    }
}

/// Whether bits are those of a floating-point number that could be an id.
fn is_whole_float(bits: u32) -> bool {
    let number = f32::from_bits(bits);
    // Below 2²⁴ every whole number is one of float32. This leaves out NaN, too.
    (0.0..16_777_216.0).contains(&number) && number.fract() == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What bytes seem to be, read as `width` for a vocabulary.
    fn seen(bytes: &[u8], width: Width, vocabulary: usize) -> Option<&'static str> {
        let mut ids = vec![0; bytes.len() / width.bytes()];
        width.decode(bytes, &mut ids);
        let mut pattern = Pattern::new(width);
        for piece in ids.chunks(16) {
            pattern.note(piece);
        }
        let beyond = ids.iter().filter(|&&id| id as usize >= vocabulary).count();
        pattern.stranger(vocabulary, beyond as u64)
    }

    #[test]
    fn each_layout_is_told_from_ids() {
        // As a vocabulary of 70,000 would give them, and below 50,257.
        let large: Vec<u32> = (1..200).map(|n| n * n * 31 % 70_000).collect();
        let small: Vec<u32> = large.iter().map(|id| id % 50_257).collect();
        macro_rules! bytes {
            ($ids:expr, $kind:ty, $order:ident) => {
                $ids.iter()
                    .flat_map(|&id| (id as $kind).$order())
                    .collect::<Vec<u8>>()
            };
        }
        let (narrow, wide) = (Width::U16, Width::U32);
        for (bytes, width, vocabulary, said) in [
            (
                bytes!(small, u32, to_le_bytes),
                narrow,
                50_257,
                "32-bit numbers",
            ),
            (
                bytes!(large, u32, to_le_bytes),
                narrow,
                50_257,
                "32-bit numbers",
            ),
            (
                bytes!(small, u32, to_be_bytes),
                narrow,
                50_257,
                "big-endian",
            ),
            (
                bytes!(small, u16, to_be_bytes),
                narrow,
                50_257,
                "big-endian",
            ),
            (
                bytes!(small, i64, to_le_bytes),
                narrow,
                50_257,
                "64-bit numbers",
            ),
            (
                bytes!(large, i64, to_le_bytes),
                narrow,
                50_257,
                "64-bit numbers",
            ),
            (
                bytes!(small, i64, to_be_bytes),
                narrow,
                50_257,
                "big-endian",
            ),
            (
                bytes!(small, f32, to_le_bytes),
                narrow,
                50_257,
                "floating-point",
            ),
            (
                bytes!(small, f64, to_le_bytes),
                narrow,
                50_257,
                "floating-point",
            ),
            (
                bytes!(large, i64, to_le_bytes),
                wide,
                70_000,
                "64-bit numbers",
            ),
            (bytes!(large, i64, to_be_bytes), wide, 70_000, "big-endian"),
            (bytes!(large, u32, to_be_bytes), wide, 70_000, "big-endian"),
            (
                bytes!(large, f32, to_le_bytes),
                wide,
                70_000,
                "floating-point",
            ),
            (
                bytes!(large, f64, to_le_bytes),
                wide,
                70_000,
                "floating-point",
            ),
            (
                bytes!(small, u16, to_le_bytes),
                wide,
                70_000,
                "16-bit numbers",
            ),
            (vec![0; 64], narrow, 50_257, "zeros"),
            (vec![0; 64], wide, 70_000, "zeros"),
        ] {
            let found = seen(&bytes, width, vocabulary).unwrap_or("ids");
            assert!(found.contains(said), "{said}: {found}");
        }
        // Right ones: of bytes and one end of text, of many, of few.
        assert_eq!(seen(&bytes!(small, u16, to_le_bytes), narrow, 50_257), None);
        assert_eq!(seen(&bytes!(large, u32, to_le_bytes), wide, 70_000), None);
        let text: Vec<u32> = b"a few\0bytes"
            .iter()
            .map(|&b| b.into())
            .chain([256])
            .collect();
        assert_eq!(seen(&bytes!(text, u16, to_le_bytes), narrow, 257), None);
        assert_eq!(seen(&[5, 0, 0, 0], narrow, 257), None);
        // An id too many does not make another layout of it.
        let off: Vec<u32> = small.iter().copied().chain([60_000]).collect();
        assert_eq!(seen(&bytes!(off, u16, to_le_bytes), narrow, 50_257), None);
    }
}
