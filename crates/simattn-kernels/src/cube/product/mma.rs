//! Products on NVIDIA's tensor cores, where operands suit them.
//!
//! A cube of four or eight planes works out 128 × 128 or 128 × 256 results, a plane 64 × 64 of them
//! in registers, from blocks of 32 terms that are copied while others are multiplied. `mma.sync`
//! reaches two thirds of what `wgmma` does on a Hopper card, and every card from 8.0 on has it.

use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::zspace::Strides;
use cubecl::zspace::metadata::Metadata;

use super::form::{DEPTH, ProductForm, ROWS};
use super::kernel::products_mma;
use super::wgmma;
use crate::cube::tensor::{addresses, element, shared_memory};
use crate::cube::tensor_cores::available;
use crate::cube::tensor_cores::lanes::CHUNK;
use crate::cube::units::MatrixUnits;

/// Results of a matrix below which a tile would be mostly empty.
const FEWEST: usize = ROWS * ROWS / 4;

/// One operand as the kernel takes it: matrices [B, rows in memory, values of a row].
struct Side {
    tensor: CubeTensor,
    /// Whether terms are rows in memory.
    turned: bool,
}

impl Side {
    /// Matrices of which the last axis but one, or the last, is that of the terms; `None` where no
    /// axis is contiguous, or rows do not begin at whole chunks.
    fn new(x: &CubeTensor, terms_last: bool) -> Option<Self> {
        let (shape, strides) = (x.meta.shape(), x.meta.strides());
        let last = shape.rank() - 1;
        let batch: usize = (0..last - 1).map(|axis| shape[axis]).product();
        let between = batch_stride(x)?;
        // The contiguous axis and the other one.
        let (inner, outer) = match () {
            () if strides[last] == 1 => (last, last - 1),
            () if strides[last - 1] == 1 => (last - 1, last),
            () => return None,
        };
        let begin = x.handle.offset_start.unwrap_or(0) as usize;
        let fits = shape[inner].is_multiple_of(CHUNK)
            && strides[outer].is_multiple_of(CHUNK)
            && between.is_multiple_of(CHUNK)
            && begin.is_multiple_of(CHUNK * x.dtype.size());
        let meta = Metadata::new(
            Shape::new([batch, shape[outer], shape[inner]]),
            Strides::new(&[between, strides[outer], 1]),
        );
        let x = x.clone();
        let tensor = CubeTensor::new(x.client, x.handle, meta, x.device, x.dtype);
        fits.then_some(Self {
            tensor,
            turned: (inner == last) != terms_last,
        })
    }
}

/// Values from one matrix to the next; `None` where they are not evenly apart.
fn batch_stride(x: &CubeTensor) -> Option<usize> {
    let (shape, strides) = (x.meta.shape(), x.meta.strides());
    let axes = shape.rank() - 2;
    let Some(last) = axes.checked_sub(1) else {
        return Some(0);
    };
    let even = (0..last).all(|axis| strides[axis] == strides[axis + 1] * shape[axis + 1]);
    even.then(|| strides[last])
}

/// Writes `left` [.., M, K] · `right` [.., K, N] + `bias` [N] to `out` [.., M, N], which lies end
/// to end, if this kernel serves such operands; false if it does not.
pub(super) fn multiply(
    left: &CubeTensor,
    right: &CubeTensor,
    bias: Option<&CubeTensor>,
    out: &CubeTensor,
) -> bool {
    let shape = out.meta.shape();
    let last = shape.rank() - 1;
    let (rows, columns) = (shape[last - 1], shape[last]);
    let depth = left.meta.shape()[last];
    let types = [left.dtype, DType::F32].contains(&out.dtype) && left.dtype == right.dtype;
    let suits = types
        && depth > 0
        && depth.is_multiple_of(DEPTH)
        && columns.is_multiple_of(CHUNK)
        && rows * columns >= FEWEST
        && MatrixUnits::tensor_cores()
        && available(&left.client, element(left));
    if !suits {
        return false;
    }
    let (Some(left), Some(right)) = (Side::new(left, true), Side::new(right, false)) else {
        return false;
    };
    let batch: usize = (0..last - 1).map(|axis| shape[axis]).product();
    if batch > usize::from(u16::MAX) {
        return false;
    }
    let out = CubeTensor::new_contiguous(
        out.client.clone(),
        out.device.clone(),
        Shape::new([batch, rows, columns]),
        out.handle.clone(),
        out.dtype,
    );
    let turned = [left.turned, right.turned];
    let (left, right) = (left.tensor, right.tensor);
    if wgmma::multiply(&left, &right, turned, bias, &out) {
        return true;
    }
    let form = ProductForm {
        left_turned: turned[0],
        right_turned: turned[1],
        bias: bias.is_some(),
        columns: 0,
    };
    let form = form.fitting([batch, rows, columns], shared_memory(&out.client));
    let Some(form) = form else {
        return false;
    };
    products_mma::launch(
        &out.client,
        CubeCount::Static(form.tiles(rows, columns) as u32, 1, batch as u32),
        form.cube(),
        addresses(&[&left, &right, &out]),
        left.clone().into_tensor_arg(),
        right.into_tensor_arg(),
        bias.unwrap_or(&left).clone().into_tensor_arg(),
        out.clone().into_tensor_arg(),
        form,
        [element(&left), element(&out)],
    );
    true
}
