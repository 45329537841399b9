use burn::tensor::Tensor;

use super::recompute::{Tensors, recomputed};
use crate::call::AttentionOptions;
use crate::reference;

/// Queries whose scores exist at a time.
const BLOCK: usize = 128;

/// [`reference::attention`] in blocks of queries, from Burn's operations: any device, any float
/// type.
///
/// The scores exist for [`BLOCK`] queries at a time, forward, and in backward once more. A block
/// skips the keys that none of its queries sees.
pub(super) fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    options: &AttentionOptions,
) -> Tensor<4> {
    let (queries, keys) = (q.dims()[2], k.dims()[2]);
    if queries <= BLOCK || keys == 0 {
        return reference::attention(q, k, v, options);
    }
    let blocks = (0..queries).step_by(BLOCK).map(|start| {
        let block = Block::new(start, BLOCK.min(queries - start), keys, options);
        // The whole tensors, which all blocks share: a slice of the keys for each would be a copy
        // on most devices.
        let mut inputs = Tensors::new();
        for tensor in [&q, &k, &v] {
            inputs.push(tensor.clone());
        }
        recomputed(inputs, move |inputs| {
            let [q, k, v] = [(); 3].map(|()| inputs.take::<4>());
            block.attend(q, k, v)
        })
    });
    Tensor::cat(blocks.collect(), 2)
}

/// Some queries, and the keys that one of them may see.
#[derive(Clone, Copy, Debug)]
struct Block {
    queries: [usize; 2],
    keys: [usize; 2],
    /// With the offset of these queries to these keys.
    options: AttentionOptions,
}

impl Block {
    fn new(start: usize, count: usize, keys: usize, options: &AttentionOptions) -> Self {
        let position = start + options.offset;
        let last = if options.causal {
            (position + count).min(keys)
        } else {
            keys
        };
        let first = options
            .window
            .map_or(0, |window| (position + 1).saturating_sub(window));
        // A block that sees nothing looks at one key, which is hidden from it.
        let first = first.min(keys - 1);
        let last = last.max(first + 1);
        Self {
            queries: [start, count],
            keys: [first, last - first],
            options: AttentionOptions {
                offset: position - first,
                ..*options
            },
        }
    }

    fn attend(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
        let of = |x: Tensor<4>, [start, count]: [usize; 2]| x.narrow(2, start, count);
        let (k, v) = (of(k, self.keys), of(v, self.keys));
        reference::attention(of(q, self.queries), k, v, &self.options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_sees_what_its_queries_see() {
        for causal in [true, false] {
            for (window, offset) in [
                (None, 0),
                (Some(3), 0),
                (Some(1), 7),
                (None, 40),
                (Some(5), 90),
            ] {
                let options = AttentionOptions {
                    causal,
                    offset,
                    window,
                    ..AttentionOptions::causal(8)
                };
                let (queries, keys) = (30, 37);
                for start in (0..queries).step_by(4) {
                    let block = Block::new(start, 4.min(queries - start), keys, &options);
                    let [first, count] = block.keys;
                    for i in 0..block.queries[1] {
                        for j in 0..keys {
                            let seen = (first..first + count).contains(&j)
                                && block.options.visible(i, j - first);
                            assert_eq!(
                                seen,
                                options.visible(start + i, j),
                                "{options:?} {start} {i} {j}"
                            );
                        }
                    }
                }
            }
        }
    }
}
