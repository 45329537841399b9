//! Sizes of memory on the command line.

use std::str::FromStr;

use thiserror::Error;

/// A number of bytes, such as `512MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a whole number with B, KiB, MiB or GiB after it is needed")]
pub(crate) struct NoSize;

impl FromStr for ByteSize {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, NoSize> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let power = match text[digits.len()..].trim() {
            "B" => 0,
            "KiB" => 1,
            "MiB" => 2,
            "GiB" => 3,
            _ => return Err(NoSize),
        };
        let number: u64 = digits.parse().map_err(|_| NoSize)?;
        let bytes = number.checked_mul(1 << (10 * power)).ok_or(NoSize)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!("3MiB".parse(), Ok(ByteSize(3 << 20)));
        assert_eq!("12 B".parse(), Ok(ByteSize(12)));
        for wrong in [
            "",
            "3",
            "MiB",
            "-3MiB",
            "3 MB",
            "3.5GiB",
            "99999999999999GiB",
        ] {
            assert_eq!(wrong.parse::<ByteSize>(), Err(NoSize), "{wrong}");
        }
    }
}
