//! Products on the tensor cores of compute capability 9.0.
//!
//! `wgmma` multiplies 64 rows over four planes from operands in shared memory, half as fast again as
//! `mma.sync`, whose operands pass through registers.

mod form;
mod instructions;
mod kernel;
mod layout;
mod trial;

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::features::Tma;
use cubecl::prelude::*;

use self::form::WgmmaForm;
use self::layout::DEPTH;
use crate::cube::tensor::{addresses, element, shared_memory};
use crate::cube::units::MatrixUnits;

/// Writes `left` [B, M, K] or [B, K, M] · `right` [B, N, K] or [B, K, N] + `bias` [N] to `out` [B,
/// M, N], if the device has `wgmma` and multiplies rightly by it; false if it does not. What is
/// contiguous has whole chunks; `turned` says of which operands terms are rows.
pub(super) fn multiply(
    left: &CubeTensor,
    right: &CubeTensor,
    turned: [bool; 2],
    bias: Option<&CubeTensor>,
    out: &CubeTensor,
) -> bool {
    let [batch, rows, columns] = out.meta.shape().dims();
    let depth = left.meta.shape()[if turned[0] { 1 } else { 2 }];
    let chosen = MatrixUnits::chosen() == MatrixUnits::Best;
    if !chosen || !has_wgmma(left) || !depth.is_multiple_of(DEPTH) {
        return false;
    }
    let form = WgmmaForm {
        left_turned: turned[0],
        right_turned: turned[1],
        bias: bias.is_some(),
        columns: 0,
        bfloat: left.dtype == DType::BF16,
    };
    let form = form.fitting([batch, rows, columns], shared_memory(&out.client));
    let plain = |form, left: &CubeTensor, right: &CubeTensor, out: &CubeTensor| {
        launch(form, left, right, None, out);
    };
    match form.filter(|&form| trial::trusted(form, left, out.dtype, plain)) {
        Some(form) => launch(form, left, right, bias, out),
        None => return false,
    }
    true
}

/// Whether the device of `x` has `wgmma`. No feature says so: of the devices for which NVRTC
/// compiles, and asynchronous copies of tiles are reported, those of compute capability 9.0 alone.
fn has_wgmma(x: &CubeTensor) -> bool {
    let properties = x.client.properties();
    properties.features.tma.contains(Tma::Base) && properties.identity.fingerprint == "ptx_sm90"
}

fn launch(
    form: WgmmaForm,
    left: &CubeTensor,
    right: &CubeTensor,
    bias: Option<&CubeTensor>,
    out: &CubeTensor,
) {
    let [batch, rows, columns] = out.meta.shape().dims();
    kernel::products_wgmma::launch(
        &out.client,
        CubeCount::Static(form.tiles(rows, columns) as u32, 1, batch as u32),
        form.cube(),
        addresses(&[left, right, out]),
        left.clone().into_tensor_arg(),
        right.clone().into_tensor_arg(),
        bias.unwrap_or(left).clone().into_tensor_arg(),
        out.clone().into_tensor_arg(),
        form,
        [element(left), element(out)],
    );
}
