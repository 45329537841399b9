use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::tensor::FloatTensor;
use burn::backend::{AutodiffBackend, Backend, Dispatch, ExtensionType};
use burn::tensor::Tensor;

/// A float tensor that may be left out, such as a bias: the one form of it that operations of a
/// backend take.
#[derive(Clone, Debug, ExtensionType)]
pub enum Maybe<B: Backend> {
    /// It is left out.
    Absent,
    /// It is there.
    Present(FloatTensor<B>),
}

impl<B: Backend> Maybe<B> {
    /// As an option.
    pub fn into_option(self) -> Option<FloatTensor<B>> {
        match self {
            Self::Absent => None,
            Self::Present(tensor) => Some(tensor),
        }
    }
}

impl<B: Backend> From<Option<FloatTensor<B>>> for Maybe<B> {
    fn from(tensor: Option<FloatTensor<B>>) -> Self {
        tensor.map_or(Self::Absent, Self::Present)
    }
}

/// For a call of an operation.
pub(super) fn dispatched<const R: usize>(tensor: Option<Tensor<R>>) -> Maybe<Dispatch> {
    tensor.map(Tensor::into_dispatch).into()
}

impl<B: Backend, C: CheckpointStrategy> Maybe<Autodiff<B, C>> {
    /// The tensor without autodiff.
    pub(super) fn constant(self) -> Maybe<B> {
        self.into_option()
            .map(|tensor| tensor.into_primitive())
            .into()
    }

    /// The tensor without autodiff, and its place in the graph: of one that needs no gradient, if
    /// it is left out. `like` is any tensor.
    pub(super) fn into_parts(self, like: &FloatTensor<B>) -> (Maybe<B>, NodeGuard) {
        match self {
            Self::Absent => {
                let constant = Autodiff::<B, C>::from_inner(like.clone());
                (Maybe::Absent, constant.node())
            }
            Self::Present(tensor) => {
                let (tensor, node) = tensor.into_parts();
                (Maybe::Present(tensor), node)
            }
        }
    }
}
