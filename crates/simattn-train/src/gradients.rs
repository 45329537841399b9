//! The gradients of one update, summed over micro-batches, with their global norm.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Gradients, Tensor};

use crate::flat::Flat;

/// Gradients of a module's parameters in the module's own order, each as one flat run of numbers.
///
/// Several backward passes add up; the user of the sum divides by their number
/// ([`crate::AdamW::update`]'s `scale`), which costs no pass of its own.
#[derive(Debug, Default)]
pub struct GradientSum {
    entries: Vec<(ParamId, Flat)>,
}

impl GradientSum {
    /// Nothing added yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the gradients of one backward pass through `module`. Parameters that the loss does not
    /// depend on, and frozen ones, have none and stay out.
    pub fn add<M: Module>(&mut self, module: &M, gradients: Gradients) {
        let mut collector = Collector {
            gradients,
            sum: &mut self.entries,
            next: 0,
        };
        module.visit(&mut collector);
    }

    /// Of these parameters, in the module's order.
    pub(crate) fn from_entries(entries: Vec<(ParamId, Flat)>) -> Self {
        Self { entries }
    }

    /// Adds another sum, number by number.
    pub(crate) fn add_sum(&mut self, other: Self) {
        for (id, flat) in other.entries {
            match self.entries.iter_mut().find(|(entry, _)| *entry == id) {
                Some((_, sum)) => sum.add(flat),
                None => self.entries.push((id, flat)),
            }
        }
    }

    /// The Euclidean norm over all gradients together, in float64 on the CPU. Not finite exactly
    /// where a gradient is not finite or a device's float32 sum overflowed.
    pub fn norm(&self) -> f64 {
        let squares: f64 = self.entries.iter().map(|(_, flat)| flat.square_sum()).sum();
        squares.sqrt()
    }

    /// [`Self::norm`] in float32 on `device`, without waiting for it.
    pub(crate) fn norm_tensor(&self, device: &Device) -> Tensor<1> {
        let squares = self
            .entries
            .iter()
            .map(|(_, flat)| flat.square_sum_tensor(device));
        let sum = squares.reduce(|sum, squares| sum + squares);
        sum.unwrap_or_else(|| Tensor::zeros([1], device)).sqrt()
    }

    /// The first parameter, in the module's order, whose gradient is not finite.
    pub fn first_non_finite(&self) -> Option<ParamId> {
        self.entries
            .iter()
            .find(|(_, flat)| !flat.square_sum().is_finite())
            .map(|(id, _)| *id)
    }

    /// The summed gradient of one parameter, its numbers in row-major order.
    pub fn numbers(&self, id: ParamId) -> Option<Vec<f32>> {
        let (_, flat) = self.entries.iter().find(|(entry, _)| *entry == id)?;
        Some(flat.to_numbers())
    }

    /// Takes the gradient of one parameter out.
    pub(crate) fn take(&mut self, id: ParamId) -> Option<Flat> {
        let at = self.entries.iter().position(|(entry, _)| *entry == id)?;
        // The optimiser asks in the module's order, so the entry is the first one left.
        Some(self.entries.remove(at).1)
    }
}

/// The first parameter of `module`, in its order, that holds NaN or infinity.
pub(crate) fn first_non_finite_weight<M: Module>(module: &M) -> Option<ParamId> {
    struct Search(Option<ParamId>);
    impl ModuleVisitor for Search {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.0.is_some() {
                return;
            }
            let flat = Flat::from_tensor(param.val().without_autodiff());
            if !flat.square_sum().is_finite() {
                self.0 = Some(param.id);
            }
        }
    }
    let mut search = Search(None);
    module.visit(&mut search);
    search.0
}

/// The factor that brings a gradient of norm `norm` down to `clip`; 1 where it is below, and where
/// `clip` is 0 (switched off).
pub fn clip_factor(norm: f64, clip: f64) -> f64 {
    if clip > 0.0 && norm > clip {
        clip / norm
    } else {
        1.0
    }
}

struct Collector<'a> {
    gradients: Gradients,
    sum: &'a mut Vec<(ParamId, Flat)>,
    /// Where the next parameter's entry is, as every pass visits in the same order.
    next: usize,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = param.val().grad_remove(&mut self.gradients) else {
            return;
        };
        let flat = Flat::from_tensor(gradient);
        let expected = self
            .sum
            .get(self.next)
            .is_some_and(|(id, _)| *id == param.id);
        let at = if expected {
            Some(self.next)
        } else {
            self.sum.iter().position(|(id, _)| *id == param.id)
        };
        match at {
            Some(at) => {
                self.sum[at].1.add(flat);
                self.next = at + 1;
            }
            None => {
                self.sum.push((param.id, flat));
                self.next = self.sum.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Module, Debug)]
    struct Pair {
        a: Param<Tensor<2>>,
        b: Param<Tensor<1>>,
    }

    fn pair() -> Pair {
        let device = Device::flex().autodiff();
        Pair {
            a: Param::from_tensor(Tensor::from_floats([[1.0, 2.0]], &device)),
            b: Param::from_tensor(Tensor::from_floats([5.0], &device)),
        }
    }

    #[test]
    fn passes_add_up_and_the_norm_spans_all_tensors() {
        let pair = pair();
        let mut sum = GradientSum::new();
        // Gradients 3 and 3 for `a` in two passes, then 4 for `b` alone.
        sum.add(&pair, (pair.a.val().sum() * 1.0).backward());
        sum.add(&pair, (pair.a.val().sum() * 2.0).backward());
        assert!((sum.norm() - 18f64.sqrt()).abs() < 1e-12);
        sum.add(&pair, (pair.b.val().sum() * 4.0).backward());
        assert!((sum.norm() - 34f64.sqrt()).abs() < 1e-12);
        let norm = sum.norm_tensor(&Device::flex()).into_scalar::<f32>();
        assert!((norm - 34f32.sqrt()).abs() < 1e-6);
        assert_eq!(sum.first_non_finite(), None);
    }

    #[test]
    fn the_first_tensor_that_is_not_finite_is_found() {
        let pair = pair();
        let mut sum = GradientSum::new();
        let loss = pair.a.val().sum() + pair.b.val().sum() * f32::NAN;
        sum.add(&pair, loss.backward());
        assert!(sum.norm().is_nan());
        assert_eq!(sum.first_non_finite(), Some(pair.b.id));
    }

    #[test]
    fn the_first_weight_that_is_not_finite_is_found() {
        let mut pair = pair();
        assert_eq!(first_non_finite_weight(&pair), None);
        pair.b = pair.b.map(|b| b * f32::INFINITY);
        assert_eq!(first_non_finite_weight(&pair), Some(pair.b.id));
    }

    #[test]
    fn clipping_only_shortens() {
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        assert_eq!(clip_factor(4.0, 1.0), 0.25);
        assert_eq!(clip_factor(4.0, 0.0), 1.0);
    }
}
