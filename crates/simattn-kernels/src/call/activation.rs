/// Which function GELU means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GeluForm {
    /// x·Φ(x), with the distribution function of the standard normal distribution.
    #[default]
    Exact,
    /// ½x·(1 + tanh(√(2/π)·(x + 0.044715x³))), as GPT-2 has it.
    Tanh,
}
