use cubecl::prelude::*;

/// `packed[r, t]` is weight [r, t] of those from `weights[first]` on, `terms` a row, or with
/// `transposed` weight [t, r]; one thread a value.
#[cube(launch, address_type = "dynamic")]
pub(super) fn pack_rows<F: Float>(
    weights: &Tensor<F>,
    packed: &mut Tensor<F>,
    first: u32,
    #[comptime] terms: usize,
    #[comptime] transposed: bool,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= packed.len() {
        terminate!();
    }
    let mut at = ABSOLUTE_POS;
    if comptime!(transposed) {
        let rows = packed.len() / terms;
        at = ABSOLUTE_POS % terms * rows + ABSOLUTE_POS / terms;
    }
    packed[ABSOLUTE_POS] = weights[first as usize + at];
}
