//! Whose the optimiser's moments are, where each rank remembers a share of them (ZeRO, stage 1).
//!
//! All weights that AdamW moves are laid in a row, and the row is cut into one piece a rank: a
//! tensor may lie on several. A matrix that Muon moves has one owner, because its update needs all
//! of it. A rank updates what it owns, and the others get the new weights from it.

use std::collections::HashMap;
use std::ops::Range;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;
use simattn::named::NamedParameter;

use crate::flat::Flat;
use crate::ranks::Ranks;

/// Which part of every parameter each rank owns.
#[derive(Clone, Debug)]
pub(crate) struct Shards {
    ranks: Ranks,
    parts: HashMap<ParamId, Vec<Range<usize>>>,
}

impl Shards {
    /// Of `parameters` among `ranks`; those that are `whole` have one owner each.
    pub(crate) fn new(
        ranks: &Ranks,
        parameters: &[NamedParameter],
        whole: impl Fn(&NamedParameter) -> bool,
    ) -> Self {
        let count = |parameter: &NamedParameter| parameter.shape.iter().product::<usize>();
        let total = |of_whole: bool| {
            let same = parameters.iter().filter(|one| whole(one) == of_whole);
            same.map(count).sum::<usize>()
        };
        let totals = [total(false), total(true)];
        let mut before = [0, 0];
        let mut parts = HashMap::new();
        for parameter in parameters {
            let (kind, count) = (usize::from(whole(parameter)), count(parameter));
            let first = before[kind];
            before[kind] += count;
            let edges = Cut {
                total: totals[kind],
                ranks: ranks.count(),
            };
            let of = |rank: usize| match kind {
                0 => edges.split(rank, first, count),
                _ => edges.owned(rank, first, count),
            };
            parts.insert(parameter.id, (0..ranks.count()).map(of).collect());
        }
        Self {
            ranks: ranks.clone(),
            parts,
        }
    }

    /// What this rank owns of a parameter's numbers.
    pub(crate) fn own(&self, id: ParamId) -> Range<usize> {
        let parts = self.parts.get(&id);
        parts.map_or(0..0, |parts| parts[self.ranks.rank()].clone())
    }

    /// A parameter's `count` numbers from `own`, what this rank owns of them, and what the others
    /// do; nothing on ranks that do not lead. All ranks call it for the same parameters in one
    /// order.
    pub(crate) fn gathered(&self, id: ParamId, own: &Flat, count: usize) -> Vec<f32> {
        let mut numbers = vec![0.0; count];
        numbers[self.own(id)].copy_from_slice(&own.to_numbers());
        let numbers = self.complete(id, numbers, "gathering the optimizer's moments");
        match self.ranks.is_first() {
            true => numbers,
            false => Vec::new(),
        }
    }

    /// `module` with all weights of their owners.
    pub(crate) fn with_owners_weights<M: Module>(&self, module: M) -> M {
        module.map(&mut Replaced(|id, numbers| {
            self.complete(id, numbers, "gathering the new weights")
        }))
    }

    fn complete(&self, id: ParamId, numbers: Vec<f32>, doing: &'static str) -> Vec<f32> {
        match self.parts.get(&id) {
            Some(parts) => self.ranks.complete(numbers, parts, doing),
            None => numbers,
        }
    }
}

/// A row of numbers, cut between ranks.
#[derive(Clone, Copy, Debug)]
struct Cut {
    total: usize,
    ranks: usize,
}

impl Cut {
    /// Where the piece of `rank` begins.
    fn edge(self, rank: usize) -> usize {
        (rank as u128 * self.total as u128 / self.ranks as u128) as usize
    }

    /// What of the `count` numbers from `first` on lies in the piece of `rank`.
    fn split(self, rank: usize, first: usize, count: usize) -> Range<usize> {
        let within = |at: usize| at.clamp(first, first + count) - first;
        within(self.edge(rank))..within(self.edge(rank + 1))
    }

    /// All of them, where their middle lies in the piece of `rank`.
    fn owned(self, rank: usize, first: usize, count: usize) -> Range<usize> {
        let middle = first + count / 2;
        if middle < self.edge(rank) {
            count..count
        } else if middle < self.edge(rank + 1) {
            0..count
        } else {
            0..0
        }
    }
}

/// Puts other numbers in place of each parameter's.
struct Replaced<F>(F);

impl<F: FnMut(ParamId, Vec<f32>) -> Vec<f32>> ModuleMapper for Replaced<F> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let (device, shape) = (tensor.device(), tensor.shape());
        let trains = tensor.is_require_grad();
        let plain = device.clone().without_autodiff();
        let numbers = Flat::from_tensor(tensor.without_autodiff()).into_numbers();
        let numbers = Flat::Host((self.0)(id, numbers));
        let mut tensor = numbers.into_shaped::<D>(shape, &plain);
        if device.is_autodiff() {
            tensor = Tensor::from_inner(tensor);
        }
        if trains {
            tensor = tensor.require_grad();
        }
        Param::from_mapped_value(id, tensor, mapper)
    }
}

impl Ranks {
    /// `module` with the weights that it has on rank 0.
    pub fn weights_from_first<M: Module>(&self, module: M) -> M {
        if self.is_alone() {
            return module;
        }
        module.map(&mut Replaced(|_, numbers| {
            self.numbers_from_first(numbers, "sending the weights")
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_owner_and_every_rank_equally_many() {
        for ranks in [1, 2, 3, 4, 7] {
            let lengths = [10, 1, 0, 25, 7];
            let total = lengths.iter().sum();
            let cut = Cut { total, ranks };
            let mut owned = vec![0; ranks];
            let mut first = 0;
            for count in lengths {
                let mut split = 0;
                let mut whole = 0;
                for (rank, owned) in owned.iter_mut().enumerate() {
                    let part = cut.split(rank, first, count);
                    assert_eq!(part.start, split, "parts lie in a row");
                    split = part.end;
                    *owned += part.len();
                    let part = cut.owned(rank, first, count);
                    assert_eq!(part.start, whole);
                    assert!(part.is_empty() || part.len() == count);
                    whole = part.end;
                }
                assert_eq!((split, whole), (count, count), "{ranks} ranks");
                first += count;
            }
            let (least, most) = (owned.iter().min(), owned.iter().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{owned:?}");
        }
    }
}
