/// Which gradients of an output head to work out beside its loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadGradientsWanted {
    /// The gradient of the hidden states.
    pub hidden: bool,
    /// The gradient of the head's weight.
    pub weight: bool,
}
