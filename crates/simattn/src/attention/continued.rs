//! What attention keeps of texts between the passes that continue them, as tensors on any device.

use std::sync::Mutex;

use burn::tensor::{DType, Tensor};
use simattn_kernels::{
    Kernels,
    reference::{AttentionOptions, RopeTable, SasOptions, SasWeights},
};

/// Rows of a pass that continues texts: a block of one of them, or a token of each of several.
/// Always as many, so that no operation sees other sizes and sums differently.
pub(crate) const ROWS: usize = 64;

/// Tokens by which the tensors of a text grow.
const GROWTH: usize = 256;

/// Tokens that there is room for where so many are kept.
pub(crate) fn capacity(tokens: usize) -> usize {
    tokens.next_multiple_of(GROWTH)
}

/// Tokens of one text among the rows of a pass, one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Row of the first token.
    pub(crate) row: usize,
    /// Tokens.
    pub(crate) tokens: usize,
    /// Place of the first token in its text.
    pub(crate) position: usize,
}

/// What a layer keeps of one text: tensors [1, A, capacity, W], whose A and W depend on the
/// variant. Behind the text's tokens they are zero or hold what no query looks at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    pub(crate) parts: Vec<Tensor<4>>,
}

/// `x` [1, A, T, W] with zeros behind, up to `tokens` tokens.
pub(crate) fn padded(x: Tensor<4>, tokens: usize) -> Tensor<4> {
    let [one, channels, there, width] = x.dims();
    if there == tokens {
        return x;
    }
    let behind = [one, channels, tokens - there, width];
    let zeros = Tensor::zeros(behind, (&x.device(), x.dtype()));
    Tensor::cat(vec![x, zeros], 2)
}

/// `tokens` of `x` [1, A, T, W] from `first` on, in memory of their own: a view of them would keep
/// all of `x`, and let nobody change it in place.
pub(crate) fn copied(x: &Tensor<4>, first: usize, tokens: usize) -> Tensor<4> {
    let [one, channels, _, width] = x.dims();
    let shape = [one, channels, tokens, width];
    let all = shape.map(|end| 0..end);
    let tokens = x.clone().narrow(2, first, tokens);
    Tensor::zeros(shape, (&x.device(), x.dtype())).slice_assign(all, tokens)
}

impl Kept {
    /// Puts `tokens` of each of `parts` [1, A, rows, W] behind the `position` that are kept.
    fn append(&mut self, parts: &[Tensor<4>], run: Run) {
        let end = run.position + run.tokens;
        if self.parts.is_empty() {
            let empty = |part: &Tensor<4>| {
                let [_, channels, _, width] = part.dims();
                Tensor::zeros([1, channels, 0, width], (&part.device(), part.dtype()))
            };
            self.parts = parts.iter().map(empty).collect();
        }
        let all = std::mem::take(&mut self.parts).into_iter().zip(parts);
        let put = |(kept, part): (Tensor<4>, &Tensor<4>)| {
            // Not grown more than once in many tokens; written in place where nobody shares it.
            let kept = padded(kept, capacity(end));
            let [_, channels, _, width] = part.dims();
            let new = part.clone().narrow(2, run.row, run.tokens);
            kept.slice_assign([0..1, 0..channels, run.position..end, 0..width], new)
        };
        self.parts = all.map(put).collect();
    }
}

/// What caches of SAS keep, and in which type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeptAs {
    /// The float type of everything that is kept.
    pub(crate) dtype: DType,
    /// Whether SAS keeps expanded keys and values beside the projected ones.
    pub(crate) expanded: bool,
}

/// The texts that a pass continues, as one layer sees them.
///
/// Everything that attention computes of a row has the same sizes whatever the others are: tiles of
/// [`ROWS`] queries over as many keys as there is room for.
#[derive(Debug)]
pub(crate) struct Continued {
    pub(crate) runs: Vec<Run>,
    pub(crate) kept_as: KeptAs,
    /// Rotations of all places of the context.
    pub(crate) places: Option<RopeTable>,
    /// What the layer keeps of each run's text.
    texts: Mutex<Vec<Kept>>,
}

impl Continued {
    pub(crate) fn new(runs: Vec<Run>, kept_as: KeptAs, places: Option<RopeTable>) -> Self {
        Self {
            runs,
            kept_as,
            places,
            texts: Mutex::default(),
        }
    }

    /// Lends what a layer keeps of the texts, in the order of the runs.
    pub(crate) fn lend(&self, kept: Vec<Kept>) {
        assert_eq!(kept.len(), self.runs.len(), "a text for each run");
        *self.locked() = kept;
    }

    /// Takes it back, with the pass's tokens.
    pub(crate) fn take_back(&self) -> Vec<Kept> {
        std::mem::take(&mut *self.locked())
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Vec<Kept>> {
        // A panic elsewhere leaves tensors whole: they are replaced, never changed.
        self.texts.lock().unwrap_or_else(|dead| dead.into_inner())
    }

    /// Keeps the rows of `parts` [1, A, ROWS, W], rounded, each for its text.
    pub(super) fn keep(&self, parts: Vec<Tensor<4>>) {
        let parts: Vec<_> = parts.into_iter().map(|part| self.rounded(part)).collect();
        for (kept, run) in self.locked().iter_mut().zip(&self.runs) {
            kept.append(&parts, *run);
        }
    }

    /// `x` in the type of what is kept.
    pub(crate) fn rounded<const R: usize>(&self, x: Tensor<R>) -> Tensor<R> {
        if x.dtype() == self.kept_as.dtype {
            x
        } else {
            x.cast(self.kept_as.dtype)
        }
    }

    /// Attention of each run's queries, rows of `q` [1, H, ROWS, D'], over the keys and values that
    /// `read` finds in what is kept of its text: [1, H, ROWS, D]. Rows of no run mean nothing.
    pub(super) fn attend(
        &self,
        q: Tensor<4>,
        kernels: Kernels,
        options: &AttentionOptions,
        read: impl Fn(&Kept, Run) -> [Tensor<4>; 2],
    ) -> Tensor<4> {
        let outside = q.dtype();
        let q = self.rounded(q);
        let texts = self.locked();
        let mixed = |(kept, run): (&Kept, &Run)| {
            let [k, v] = read(kept, *run);
            let tile = if run.row == 0 && self.runs.len() == 1 {
                q.clone()
            } else {
                // The row again and again: only the first of the tile is read.
                assert_eq!(run.tokens, 1, "of several texts a token each");
                let [one, heads, rows, width] = q.dims();
                let row = q.clone().narrow(2, run.row, 1);
                row.expand([one, heads, rows, width])
            };
            let options = AttentionOptions {
                offset: run.position,
                ..*options
            };
            kernels.attention(tile, k, v, &options)
        };
        let mut all: Vec<Tensor<4>> = texts.iter().zip(&self.runs).map(mixed).collect();
        let y = if all.len() == 1 {
            all.remove(0)
        } else {
            let first = |y: Tensor<4>| y.narrow(2, 0, 1);
            padded(Tensor::cat(all.into_iter().map(first).collect(), 2), ROWS)
        };
        if y.dtype() == outside {
            y
        } else {
            y.cast(outside)
        }
    }

    /// Simulated attention: `q` [1, ROWS, H, D], `k` and `v` [1, ROWS, G, D] → [1, ROWS, F].
    pub(super) fn sas_attention(
        &self,
        [q, k, v]: [Tensor<4>; 3],
        weights: &SasWeights,
        rows: Option<&RopeTable>,
        options: &SasOptions,
        kernels: Kernels,
    ) -> Tensor<3> {
        let (heads, inside) = (q.dims()[2], q.dtype());
        let q = kernels.sas_expand(q, &weights.q, rows, options);
        let compact = [k, v].map(|x| self.rounded(x));
        let mut parts = Vec::new();
        if self.kept_as.expanded {
            let [k, v] = compact.clone().map(|x| x.cast(inside));
            parts.push(kernels.sas_expand(k, &weights.k, rows, options));
            parts.push(kernels.sas_expand(v, &weights.v, None, options));
        }
        parts.extend(compact.map(|x| x.swap_dims(1, 2)));
        self.keep(parts);
        let read = |kept: &Kept, run: Run| match &kept.parts[..] {
            [k, v, _, _] => [k.clone(), v.clone()],
            [k, v] => {
                let tokens = run.position + run.tokens;
                let parts = [k.clone(), v.clone()];
                self.expanded_again(parts, tokens, weights, inside, options, kernels)
            }
            _ => unreachable!("what this function keeps"),
        };
        let y = self.attend(q, kernels, &options.attention, read);
        kernels.sas_aggregate(y, heads, options.aggregation)
    }

    /// The first `tokens` of compact keys and values [1, G, tokens or more, D], expanded in blocks
    /// of [`ROWS`], as when they were new: [1, H', capacity, D'] and [1, H', capacity, D].
    pub(crate) fn expanded_again(
        &self,
        compact: [Tensor<4>; 2],
        tokens: usize,
        weights: &SasWeights,
        inside: DType,
        options: &SasOptions,
        kernels: Kernels,
    ) -> [Tensor<4>; 2] {
        let [k, v] = compact.map(|x| padded(x, capacity(tokens)));
        let block = |x: &Tensor<4>, first: usize| {
            let rows = x.clone().narrow(2, first, ROWS).swap_dims(1, 2);
            rows.cast(inside)
        };
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for first in (0..tokens).step_by(ROWS) {
            let table = self.places.as_ref().map(|table| {
                let rows = |part: &Tensor<2>| {
                    let [places, _] = part.dims();
                    let there = ROWS.min(places - first);
                    let rows = part.clone().narrow(0, first, there);
                    let [_, half] = rows.dims();
                    padded(rows.reshape([1, 1, there, half]), ROWS).reshape([ROWS, half])
                };
                RopeTable {
                    cos: rows(&table.cos),
                    sin: rows(&table.sin),
                }
            });
            let k = kernels.sas_expand(block(&k, first), &weights.k, table.as_ref(), options);
            let v = kernels.sas_expand(block(&v, first), &weights.v, None, options);
            keys.push(self.rounded(k));
            values.push(self.rounded(v));
        }
        [keys, values].map(|all| padded(Tensor::cat(all, 2), capacity(tokens)))
    }
}
