//! Gradients that are told while backward still runs.

use std::sync::Arc;

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::Tensor,
};
use simattn_kernels::ops::{Tensors, milestone};

/// Told during backward of parameters whose gradients are complete: the gradients, each as one run
/// of numbers.
pub type Settled = Arc<dyn Fn(Vec<(ParamId, Tensor<1>)>) + Send + Sync>;

/// `x`, behind which `modules` are used and nowhere else: when backward has passed this place, the
/// gradients of their parameters are taken out and told.
pub(crate) fn behind<const R: usize, M: Module>(
    x: Tensor<R>,
    modules: &M,
    settled: &Settled,
) -> Tensor<R> {
    let mut gather = Gather::default();
    modules.visit(&mut gather);
    let Gather { ids, tensors } = gather;
    let settled = settled.clone();
    milestone(x, tensors, move |found| {
        let found = ids.into_iter().zip(found);
        settled(found.filter_map(|(id, found)| Some((id, found?))).collect());
    })
}

/// Collects the parameters in the module's order.
#[derive(Default)]
struct Gather {
    ids: Vec<ParamId>,
    tensors: Tensors,
}

impl ModuleVisitor for Gather {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.ids.push(param.id);
        self.tensors.push(param.val());
    }
}
