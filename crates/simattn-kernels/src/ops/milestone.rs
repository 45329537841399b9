//! A place in backward at which the gradients of some tensors are complete.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Shape, Tensor};

use super::recompute::{Dispatched, Tensors, any};

/// `x` itself. When backward has come so far that the gradient of `x` is complete, it takes those
/// of `used` out and gives them to `then`, one for each, as runs of numbers. A gradient that has
/// not come by then is `None` and stays where it is.
///
/// `used` are leaves that only what is made of `x` depends on; then nothing comes after that. Where
/// a leaf is first changed by itself, for example into another float type, its gradient comes at
/// the end of backward, and is not among these. `then` runs while Burn holds the graph: it may not
/// compute on autodiff. Without autodiff, and on backends without a graph of ours, it is never
/// called.
pub fn milestone<const R: usize>(
    x: Tensor<R>,
    used: Tensors,
    then: impl FnOnce(Vec<Option<Tensor<1>>>) + Send + 'static,
) -> Tensor<R> {
    let then = Then(Arc::new(Mutex::new(Some(Box::new(then)))));
    let x = x.into_dispatch();
    if let Some(x) = Flex::of_autodiff(x.clone()) {
        return Tensor::from_dispatch(record::<Flex>(x, used, then));
    }
    #[cfg(feature = "cube")]
    if let Some(x) = <burn_cubecl::CubeBackend as Dispatched>::of_autodiff(x.clone()) {
        return Tensor::from_dispatch(record::<burn_cubecl::CubeBackend>(x, used, then));
    }
    Tensor::from_dispatch(x)
}

/// What is told of gradients.
type Told = Box<dyn FnOnce(Vec<Option<Tensor<1>>>) + Send>;

/// Who is told, once. Behind a lock, because a state is cloned and sent between threads.
#[derive(Clone)]
struct Then(Arc<Mutex<Option<Told>>>);

impl fmt::Debug for Then {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Then")
    }
}

#[derive(Debug)]
struct Milestone;

fn record<B: Dispatched>(
    x: FloatTensor<Autodiff<B>>,
    used: Tensors,
    then: Then,
) -> burn::backend::DispatchTensor {
    // A leaf of another backend cannot have a gradient on this one.
    let used: Vec<_> = used.0.into_iter().map(B::of_autodiff).collect();
    let (value, node) = x.into_parts();
    let prepared = Backward::<B, 1>::prepare::<NoCheckpointing>(Milestone, [node]);
    B::autodiff(match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((used, then), value),
        OpsKind::UnTracked(prepared) => prepared.finish(value),
    })
}

impl<B: Dispatched> Backward<B, 1> for Milestone {
    type State = (Vec<Option<FloatTensor<Autodiff<B>>>>, Then);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let (used, Then(then)) = ops.state;
        let found = used.into_iter().map(|leaf| {
            let gradient = gradients.remove::<B>(&leaf?)?;
            let count = gradient.shape().num_elements();
            let row = B::float_reshape(gradient, Shape::new([count]));
            Some(any(B::plain(row)))
        });
        let found = found.collect();
        let then = then.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(then) = then {
            then(found);
        }
        let dy = gradients.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            gradients.register::<B>(parent.id, dy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn gradients_are_complete_when_they_are_told_and_no_other_changes() {
        let device = Device::flex().autodiff();
        let leaf = |numbers: [f32; 2]| Tensor::<1>::from_floats(numbers, &device).require_grad();
        let [below, a, b] = [leaf([2.0, 3.0]), leaf([5.0, 7.0]), leaf([1.0, 1.0])];
        type Rows = Arc<Mutex<Vec<Option<Vec<f32>>>>>;
        let loss = |watched: Option<Rows>| {
            let mut x = below.clone() * 2.0;
            if let Some(told) = watched {
                let mut used = Tensors::new();
                used.push(a.clone());
                used.push(b.clone());
                x = milestone(x, used, move |found| {
                    let numbers = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().collect();
                    let found = found.into_iter().map(|tensor| tensor.map(numbers));
                    told.lock().expect("nobody panicked").extend(found);
                });
            }
            // `a` twice, so that its gradient is a sum; `b` only by itself first.
            let y = x.clone() * a.clone() + (x * a.clone()).exp() * (b.clone() + 1.0);
            y.sum()
        };
        let plain = loss(None).backward();
        let told = Arc::new(Mutex::new(Vec::new()));
        let watched = loss(Some(told.clone())).backward();
        let numbers = |tensor: Option<Tensor<1>>| {
            tensor.map(|tensor| tensor.into_data().iter::<f32>().collect::<Vec<_>>())
        };
        let told = told.lock().expect("nobody panicked").clone();
        assert_eq!(told, [numbers(a.grad(&plain)), None]);
        assert_eq!(numbers(a.grad(&watched)), None);
        assert_eq!(numbers(b.grad(&watched)), numbers(b.grad(&plain)));
        assert_eq!(numbers(below.grad(&watched)), numbers(below.grad(&plain)));
    }
}
