//! q, k and v: compact, and on their way to expanded heads.

use super::{Expansion, Rotation};
use crate::call::{RopePlacement, SasOptions, SasShape};
use crate::cpu::blocked::BLOCK;
use crate::cpu::expansion::{ExpansionCall, Prepared, Sizes};
use crate::cpu::memory::Shared;
use crate::cpu::simd::InstructionSet;

/// One of q, k and v as it comes in.
#[derive(Clone, Copy)]
pub(super) struct Compact<'a> {
    pub(super) source: &'a [f32],
    pub(super) tokens: usize,
    pub(super) heads: usize,
    pub(super) weights: Expansion<'a>,
    pub(super) rotation: Option<Rotation<'a>>,
    pub(super) expanded_width: usize,
    /// What the expanded values are multiplied by.
    pub(super) factor: f32,
}

impl<'a> Compact<'a> {
    pub(super) fn operand(
        self,
        set: InstructionSet,
        shape: &SasShape,
        options: &SasOptions,
    ) -> Operand<'a> {
        let (expanded_heads, kernel_size) = match self.weights.heads {
            Some(_) => (shape.expanded_heads, shape.kernel_size),
            None => (self.heads, 1),
        };
        let at = |placement: RopePlacement| {
            self.rotation
                .filter(|r| options.rope == placement && r.half > 0)
        };
        let call = ExpansionCall {
            sizes: Sizes {
                heads: self.heads,
                expanded_heads,
                width: shape.head_dim,
                expanded_width: self.expanded_width,
                kernel_size,
            },
            weights: self.weights,
            options: options.expansion,
            before: at(RopePlacement::Before),
            after: at(RopePlacement::After),
            factor: self.factor,
        };
        Operand {
            source: self.source,
            tokens: self.tokens,
            expansion: Prepared::new(call, set.lanes(), self.tokens),
        }
    }
}

/// One of q, k and v: what comes in, and what becomes of it.
pub(super) struct Operand<'a> {
    /// [B, tokens, heads, D]
    pub(super) source: &'a [f32],
    pub(super) tokens: usize,
    pub(super) expansion: Prepared<'a>,
}

/// Where one operand is expanded to.
#[derive(Clone, Copy)]
pub(super) struct Expanded<'a> {
    pub(super) operand: &'a Operand<'a>,
    /// For each batch element in work the expanded heads, in lane order.
    pub(super) lanes: Shared,
    /// For each batch element in work what backward wants of the way there; `None`: nothing is
    /// kept.
    pub(super) kept: Option<Shared>,
}

impl Operand<'_> {
    /// Heads after the expansion.
    pub(super) fn expanded_heads(&self) -> usize {
        self.expansion.sizes.expanded_heads
    }

    /// Blocks of tokens.
    pub(super) fn blocks(&self) -> usize {
        self.tokens.div_ceil(BLOCK)
    }

    /// Expanded values of one head.
    pub(super) fn head_size(&self) -> usize {
        self.blocks() * self.expansion.sizes.expanded_width * BLOCK
    }

    /// Expanded values of one batch element.
    pub(super) fn size(&self) -> usize {
        self.expanded_heads() * self.head_size()
    }

    /// Values kept between the stages for one batch element.
    pub(super) fn kept_size(&self) -> usize {
        self.tokens.div_ceil(self.expansion.chunk_len) * self.expansion.kept()
    }

    /// Where those of the chunk from `token` on begin, of batch element `element` of those in work.
    pub(super) fn kept_at(&self, element: usize, token: usize) -> usize {
        element * self.kept_size() + token / self.expansion.chunk_len * self.expansion.kept()
    }
}

impl Expanded<'_> {
    /// Where head `head` of batch element `element` of those in work begins.
    #[inline(always)]
    pub(super) fn head_at(&self, element: usize, head: usize) -> usize {
        element * self.operand.size() + head * self.operand.head_size()
    }

    /// All blocks of that head.
    #[inline(always)]
    pub(super) fn head(&self, element: usize, head: usize) -> *mut f32 {
        self.lanes
            .at(self.head_at(element, head), self.operand.head_size())
    }
}

/// Of tasks that are dealt to three items, `share` of each: the item that has task `at`, and its
/// number among that item's.
pub(super) fn share_of<T>(
    items: &[T; 3],
    share: impl Fn(&T) -> usize,
    mut at: usize,
) -> (&T, usize) {
    let [first, second, third] = items;
    for item in [first, second] {
        let tasks = share(item);
        if at < tasks {
            return (item, at);
        }
        at -= tasks;
    }
    (third, at)
}
