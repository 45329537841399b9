//! Parts of a computation that keep their inputs for backward and nothing else.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    AutodiffBackend, Backend, DispatchKindConversion, DispatchTensor, Flex, TensorMetadata,
};
use burn::tensor::{DType, Shape, Tensor};

use super::autodiff::Differentiable;

/// Float tensors of any ranks, one after another: what [`recomputed`] hands to its function.
#[derive(Clone, Debug, Default)]
pub struct Tensors(pub(super) VecDeque<DispatchTensor>);

impl Tensors {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end.
    pub fn push<const R: usize>(&mut self, tensor: Tensor<R>) {
        self.0.push_back(tensor.into_dispatch());
    }

    /// Takes the one at the front.
    ///
    /// # Panics
    /// If none is left.
    pub fn take<const R: usize>(&mut self) -> Tensor<R> {
        let tensor = self.0.pop_front();
        Tensor::from_dispatch(tensor.expect("a function takes as many tensors as were pushed"))
    }
}

/// `function(inputs)`, of which backward keeps `inputs` alone: it runs `function` once more, on
/// leaves with the same values, and sends the gradients on. Values and gradients are those of
/// `function`, bit for bit.
///
/// `function` may hold constants, but no tensor that needs a gradient: those are inputs. It is run
/// at once where no input needs a gradient, where there are more than 64, and on devices other than
/// the CPU and, in builds for them, GPUs: there the function's own operations keep whatever they
/// keep.
pub fn recomputed<const R: usize>(
    inputs: Tensors,
    function: impl Fn(&mut Tensors) -> Tensor<R> + Send + 'static,
) -> Tensor<R> {
    let run = move |mut inputs: Tensors| function(&mut inputs).into_dispatch();
    if let Some(tracked) = on_autodiff::<Flex>(&inputs) {
        return Tensor::from_dispatch(record_some::<Flex>(tracked, run));
    }
    #[cfg(feature = "cube")]
    if let Some(tracked) = on_autodiff::<burn_cubecl::CubeBackend>(&inputs) {
        return Tensor::from_dispatch(record_some::<burn_cubecl::CubeBackend>(tracked, run));
    }
    Tensor::from_dispatch(run(inputs))
}

const FEW: usize = 8;
const MANY: usize = 64;

/// Between a backend's own tensors and those of any backend. A further backend joins by a line in
/// [`recomputed`].
pub(super) trait Dispatched: Backend {
    /// `None` for a tensor of another backend, or without autodiff.
    fn of_autodiff(tensor: DispatchTensor) -> Option<FloatTensor<Autodiff<Self>>>;
    fn of_plain(tensor: DispatchTensor) -> FloatTensor<Self>;
    fn plain(tensor: FloatTensor<Self>) -> DispatchTensor;
    fn autodiff(tensor: FloatTensor<Autodiff<Self>>) -> DispatchTensor;
}

impl<B: Backend> Dispatched for B
where
    DispatchTensor: DispatchKindConversion<B> + DispatchKindConversion<Autodiff<B>>,
{
    fn of_autodiff(tensor: DispatchTensor) -> Option<FloatTensor<Autodiff<Self>>> {
        any(tensor).try_into_primitive::<Autodiff<Self>>().ok()
    }

    fn of_plain(tensor: DispatchTensor) -> FloatTensor<Self> {
        any(tensor)
            .try_into_primitive::<Self>()
            .expect("a function gives a tensor of its inputs' device")
    }

    fn plain(tensor: FloatTensor<Self>) -> DispatchTensor {
        Tensor::<1>::from_primitive::<Self>(tensor).into_dispatch()
    }

    fn autodiff(tensor: FloatTensor<Autodiff<Self>>) -> DispatchTensor {
        Tensor::<1>::from_primitive::<Autodiff<Self>>(tensor).into_dispatch()
    }
}

/// Burn does not compare a handle's rank with its tensor's; no operation that would is applied to
/// these.
pub(super) fn any(tensor: DispatchTensor) -> Tensor<1> {
    Tensor::from_dispatch(tensor)
}

/// The inputs as autodiff tensors, if one of them needs a gradient and all are of this backend.
fn on_autodiff<B: Dispatched>(inputs: &Tensors) -> Option<Vec<FloatTensor<Autodiff<B>>>> {
    let of =
        |tensor: &DispatchTensor| B::of_autodiff(any(tensor.clone()).autodiff().into_dispatch());
    let inputs: Vec<_> = inputs.0.iter().map(of).collect::<Option<_>>()?;
    let tracked = inputs.iter().any(|input| input.is_tracked());
    tracked.then_some(inputs)
}

/// The function with the constants that it holds. Behind a lock, because a state is cloned and sent
/// between threads.
#[derive(Clone)]
struct Again(Arc<Mutex<dyn Fn(Tensors) -> DispatchTensor + Send>>);

impl Again {
    fn run(&self, inputs: Tensors) -> DispatchTensor {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)(inputs)
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Again")
    }
}

/// Nodes have a fixed number of parents; most calls have few.
fn record_some<B: Dispatched>(
    inputs: Vec<FloatTensor<Autodiff<B>>>,
    run: impl Fn(Tensors) -> DispatchTensor + Send + 'static,
) -> DispatchTensor {
    match inputs.len() {
        count if count <= FEW => record::<B, FEW>(inputs, run),
        count if count <= MANY => record::<B, MANY>(inputs, run),
        _ => run(Tensors(inputs.into_iter().map(B::autodiff).collect())),
    }
}

fn record<B: Dispatched, const N: usize>(
    inputs: Vec<FloatTensor<Autodiff<B>>>,
    function: impl Fn(Tensors) -> DispatchTensor + Send + 'static,
) -> DispatchTensor {
    let device = inputs[0].device();
    let (values, mut nodes): (Vec<_>, Vec<_>) =
        inputs.into_iter().map(|input| input.into_parts()).unzip();
    nodes.resize_with(N, || {
        let nothing = B::float_zeros(Shape::new([1]), &device, DType::F32.into());
        Autodiff::<B>::from_inner(nothing).node()
    });
    let Ok(nodes) = <[_; N]>::try_from(nodes) else {
        unreachable!("resized to N above")
    };
    // On autodiff without leaves, because Burn's autodiff puts some operations together from
    // others, with other last bits.
    let constants = values.iter().cloned().map(Autodiff::<B>::from_inner);
    let y = function(Tensors(constants.map(B::autodiff).collect()));
    let y = B::of_plain(any(y).without_autodiff().into_dispatch());
    let again = Again(Arc::new(Mutex::new(function)));
    let recorded = Recomputed
        .record::<NoCheckpointing>(nodes, |recorded| (y, recorded.then_some((values, again))));
    B::autodiff(recorded)
}

/// Of N inputs, of which the first ones exist.
#[derive(Debug)]
struct Recomputed;

impl<B: Dispatched, const N: usize> Differentiable<B, N> for Recomputed {
    type Kept = (Vec<FloatTensor<B>>, Again);

    fn gradients(
        self,
        (inputs, again): Self::Kept,
        dy: FloatTensor<B>,
        wanted: [bool; N],
    ) -> [Option<FloatTensor<B>>; N] {
        // A graph of its own: Burn holds the outer one's lock while this runs.
        let leaves: Vec<FloatTensor<Autodiff<B>>> = inputs
            .into_iter()
            .zip(wanted)
            .map(|(input, wanted)| {
                let leaf = Autodiff::<B>::from_inner(input);
                if wanted { leaf.require_grad() } else { leaf }
            })
            .collect();
        let y = again.run(Tensors(leaves.iter().cloned().map(B::autodiff).collect()));
        drop(again);
        let y = B::of_autodiff(y).filter(|y| y.is_tracked());
        // d(Σ y·dy)/dy is dy, exactly.
        let mut found = y.map(|y| {
            let dy = Autodiff::<B>::from_inner(dy);
            Autodiff::<B>::float_sum(Autodiff::<B>::float_mul(y, dy)).backward()
        });
        let mut leaves = leaves.into_iter();
        wanted.map(|wanted| {
            let leaf = leaves.next().filter(|_| wanted)?;
            let gradient = found.as_mut().and_then(|found| leaf.grad_remove(found));
            // Whoever made this input waits for a gradient, even for one of nothing.
            Some(gradient.unwrap_or_else(|| {
                B::float_zeros(leaf.shape(), &leaf.device(), leaf.dtype().into())
            }))
        })
    }
}
