//! The last phase of backward: gradients of the expanded values to those of the compact ones and of
//! the weights.

use super::operand::Operand;
use crate::cpu::blocked::BLOCK;
use crate::cpu::expansion::{Chunk, ContractChunk};
use crate::cpu::memory::{Shared, read_at, with_scratch};
use crate::cpu::simd::InstructionSet;

/// Tokens whose gradients of the weights are added up in one buffer.
const PART: usize = 2 * BLOCK;

/// Where the contraction of q, k or v reads and writes.
pub(super) struct Contraction<'a> {
    pub(super) operand: &'a Operand<'a>,
    /// What the expansion kept.
    pub(super) kept: Shared,
    /// Gradient of the expanded values: for each batch element in work its heads, in lane order.
    pub(super) gradient: Shared,
    /// Distance between those heads: k and v have a head for each of several tasks, of which the
    /// first holds the sum.
    pub(super) head_stride: usize,
    /// Gradients of the weights, for each batch element in work and part of its tokens.
    pub(super) weight_gradients: Shared,
    /// Gradient of the values that came in, as they are laid out.
    pub(super) target: Shared,
}

/// Parts of an operand's tokens, each with gradients of the weights of its own.
pub(super) fn parts(operand: &Operand<'_>) -> usize {
    operand.tokens.div_ceil(PART)
}

impl Contraction<'_> {
    /// Part `part` of the tokens of batch element `first + element`.
    pub(super) fn contract_part(
        &self,
        set: InstructionSet,
        first: usize,
        element: usize,
        part: usize,
    ) {
        let Operand {
            source,
            tokens,
            expansion,
        } = self.operand;
        let tokens = *tokens;
        let sizes = expansion.sizes;
        let token_size = sizes.heads * sizes.width;
        let len = expansion.gradient_len();
        let place = element * parts(self.operand) + part;
        let weight_gradient = self.weight_gradients.at(place * len, len);
        // SAFETY: this part's own buffer.
        unsafe { weight_gradient.write_bytes(0, len) };
        let gradient = self.gradient.at(
            element * sizes.expanded_heads * self.head_stride,
            self.operand.head_size(),
        );
        with_scratch(expansion.room(), |room| {
            let room = room.map(|r| r.as_mut_ptr());
            with_scratch(expansion.gradient_room(), |gradient_room| {
                let gradient_room = gradient_room.map(|r| r.as_mut_ptr());
                for token in
                    (part * PART..((part + 1) * PART).min(tokens)).step_by(expansion.chunk_len)
                {
                    let chunk = Chunk {
                        token,
                        count: (tokens - token).min(expansion.chunk_len),
                    };
                    let at = ((first + element) * tokens + token) * token_size;
                    let kept_at = self.operand.kept_at(element, token);
                    let block_at = token / BLOCK * sizes.expanded_width * BLOCK + token % BLOCK;
                    set.run(ContractChunk {
                        plan: expansion,
                        chunk,
                        source: read_at(source, at, chunk.count * token_size),
                        kept: self.kept.at(kept_at, expansion.kept()),
                        gradient: gradient.wrapping_add(block_at),
                        head_stride: self.head_stride,
                        room,
                        gradient_room,
                        weight_gradient,
                        target: self.target.at(at, chunk.count * token_size),
                    });
                }
            });
        });
    }
}
