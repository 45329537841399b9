use std::fmt;

/// How the numbers of a weight or a cache are kept; sums are float32 whatever they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NumberType {
    /// float32.
    #[default]
    F32,
    /// bfloat16: the upper half of a float32, rounded to nearest.
    Bf16,
    /// Whole numbers from −127 to 127 beside a scale: one for each output of a weight, and for
    /// each head and token of a cache.
    Int8,
}

impl NumberType {
    /// As on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// Bytes of one number, without its share of a scale.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
            Self::Int8 => 1,
        }
    }
}

impl fmt::Display for NumberType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
