//! The gradients of a step's groups of micro-batches, added up as a tree over neighbours.
//!
//! Within a group gradients add up one after another. Of the groups, neighbours are added first,
//! then neighbouring pairs, and so on. A process that has a run of groups whose number is a power
//! of two can add them by itself: its sum is a branch of the same tree.

use burn::module::{Module, ParamId};
use burn::tensor::Gradients;

use crate::flat::Flat;
use crate::gradients::GradientSum;

/// Sums that are not joined yet.
#[derive(Debug)]
pub(crate) struct GroupSums {
    per_group: usize,
    /// Micro-batches in `current`.
    added: usize,
    /// The group under way.
    current: GradientSum,
    /// Branches that are complete, with the number of their groups: each has more than the one
    /// behind it.
    earlier: Vec<(usize, GradientSum)>,
}

impl GroupSums {
    /// Of groups of `per_group` micro-batches.
    pub(crate) fn new(per_group: usize) -> Self {
        Self {
            per_group: per_group.max(1),
            added: 0,
            current: GradientSum::new(),
            earlier: Vec::new(),
        }
    }

    /// Adds the gradients of the next micro-batch.
    pub(crate) fn add<M: Module>(&mut self, module: &M, gradients: Gradients) {
        self.current.add(module, gradients);
        self.added += 1;
        if self.added == self.per_group {
            self.added = 0;
            let mut sum = std::mem::take(&mut self.current);
            let mut groups = 1;
            while let Some((_, mut left)) = self.earlier.pop_if(|(size, _)| *size == groups) {
                left.add_sum(sum);
                sum = left;
                groups *= 2;
            }
            self.earlier.push((groups, sum));
        }
    }

    /// One parameter's sum over all micro-batches, where `gradient` is that of the last one. Takes
    /// its earlier gradients out.
    pub(crate) fn finish_one(&mut self, id: ParamId, gradient: Flat) -> Flat {
        let branches = self.earlier.iter_mut().map(|(_, sum)| sum);
        let left = branches.chain([&mut self.current]).rev();
        left.fold(gradient, |right, left| match left.take(id) {
            Some(mut left) => {
                left.add(right);
                left
            }
            None => right,
        })
    }

    /// The sum over all micro-batches.
    pub(crate) fn finish(mut self) -> GradientSum {
        let mut sum = self.current;
        while let Some((_, mut left)) = self.earlier.pop() {
            left.add_sum(sum);
            sum = left;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Param;
    use burn::tensor::{Device, Tensor};

    #[derive(Module, Debug)]
    struct One {
        a: Param<Tensor<1>>,
    }

    /// A gradient of these numbers.
    fn gradients(module: &One, numbers: [f32; 2]) -> Gradients {
        let weights = Tensor::from_floats(numbers, &module.a.val().device());
        (module.a.val() * weights).sum().backward()
    }

    /// Numbers whose sum depends on the order of the additions.
    fn numbers(micro_batch: usize) -> [f32; 2] {
        let at = micro_batch as f32;
        [
            1.0 / (1.0 + at),
            (at - 2.7) * 10f32.powi(micro_batch as i32 % 5),
        ]
    }

    /// The tree by its definition, on sums of groups.
    fn tree(mut sums: Vec<[f32; 2]>) -> [f32; 2] {
        while sums.len() > 1 {
            sums = (sums.chunks(2))
                .map(|pair| match pair {
                    [left, right] => [left[0] + right[0], left[1] + right[1]],
                    rest => rest[0],
                })
                .collect();
        }
        sums[0]
    }

    #[test]
    fn groups_add_up_as_a_tree_over_neighbours_whoever_adds_them() {
        let device = Device::flex().autodiff();
        let module = One {
            a: Param::from_tensor(Tensor::from_floats([1.0, 2.0], &device)),
        };
        for (groups, per_group) in [(1, 3), (2, 1), (3, 2), (4, 2), (6, 1), (7, 1), (8, 2)] {
            let count = groups * per_group;
            let expected = tree(
                (0..groups)
                    .map(|group| {
                        let first = group * per_group;
                        (first + 1..first + per_group).fold(numbers(first), |sum, next| {
                            let next = numbers(next);
                            [sum[0] + next[0], sum[1] + next[1]]
                        })
                    })
                    .collect(),
            );
            let mut whole = GroupSums::new(per_group);
            let mut streamed = GroupSums::new(per_group);
            for micro_batch in 0..count {
                whole.add(&module, gradients(&module, numbers(micro_batch)));
                if micro_batch + 1 < count {
                    streamed.add(&module, gradients(&module, numbers(micro_batch)));
                }
            }
            let last = Flat::Host(numbers(count - 1).to_vec());
            let streamed = streamed.finish_one(module.a.id, last).to_numbers();
            let whole = whole.finish().numbers(module.a.id).expect("a gradient");
            assert_eq!(whole, expected, "{groups} groups of {per_group}");
            assert_eq!(streamed, expected, "{groups} groups of {per_group}");
        }
    }
}
