//! Whether a device multiplies by these kernels as it should, tried before a form is first used.
//!
//! Their operands are described by hand, and a wrong description gives numbers, not errors. So the
//! first product of each form is one of small whole numbers, whose results are exact.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use burn::tensor::{DType, bf16, f16};
use burn_cubecl::tensor::CubeTensor;

use super::form::WgmmaForm;
use super::layout::DEPTH;
use crate::cube::tensor::unwritten;

/// Rows, columns and terms: tiles that are not whole, and more blocks than stages. Sums of so many
/// terms of −1, 0 and 1 are exact in bfloat16.
const SIZES: [usize; 3] = [136, 264, 6 * DEPTH];

static FOUND: LazyLock<Mutex<HashMap<String, bool>>> = LazyLock::new(Mutex::default);

/// Whether products of this form, into values of type `out`, are right on the device of `like`.
/// `launch` multiplies `left` and `right`, which lie as the form says, into the last tensor.
pub(super) fn trusted(
    form: WgmmaForm,
    like: &CubeTensor,
    out: DType,
    launch: impl Fn(WgmmaForm, &CubeTensor, &CubeTensor, &CubeTensor),
) -> bool {
    let form = WgmmaForm {
        bias: false,
        ..form
    };
    let key = format!("{:?} {form:?} {out:?}", like.device);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    *found
        .entry(key)
        .or_insert_with(|| is_right(form, like, out, launch))
}

fn is_right(
    form: WgmmaForm,
    like: &CubeTensor,
    out: DType,
    launch: impl Fn(WgmmaForm, &CubeTensor, &CubeTensor, &CubeTensor),
) -> bool {
    let [rows, columns, terms] = SIZES;
    // The line and the term decide the value, so that no two lines or terms are alike.
    let left = |i: usize, t: usize| ((i * 7 + t * 5 + i * t) % 3) as i32 - 1;
    let right = |j: usize, t: usize| ((j * 11 + t * 3 + j * j * t) % 3) as i32 - 1;
    let of_left = operand(like, [rows, terms], form.left_turned, left);
    let of_right = operand(like, [columns, terms], form.right_turned, right);
    let y = unwritten(like, [1, rows, columns], out);
    launch(form, &of_left, &of_right, &y);
    let Ok(bytes) = y.client.read_one(y.handle.clone()) else {
        return false;
    };
    let expected = (0..rows * columns).map(|at| {
        let (i, j) = (at / columns, at % columns);
        (0..terms).map(|t| left(i, t) * right(j, t)).sum::<i32>()
    });
    expected
        .flat_map(|value| encoded(value, out))
        .eq(bytes.iter().copied())
}

/// Lines of terms as a matrix of the type of `like`, or its transpose.
fn operand(
    like: &CubeTensor,
    [lines, terms]: [usize; 2],
    turned: bool,
    value: impl Fn(usize, usize) -> i32,
) -> CubeTensor {
    let [outer, inner] = if turned {
        [terms, lines]
    } else {
        [lines, terms]
    };
    let of = |at: usize| match turned {
        true => value(at % inner, at / inner),
        false => value(at / inner, at % inner),
    };
    let bytes: Vec<u8> = (0..outer * inner)
        .flat_map(|at| encoded(of(at), like.dtype))
        .collect();
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        [1, outer, inner].into(),
        like.client.create_from_slice(&bytes),
        like.dtype,
    )
}

/// A whole number in the float type `dtype`.
fn encoded(value: i32, dtype: DType) -> Vec<u8> {
    match dtype {
        DType::BF16 => bf16::from_f32(value as f32).to_le_bytes().to_vec(),
        DType::F16 => f16::from_f32(value as f32).to_le_bytes().to_vec(),
        _ => (value as f32).to_le_bytes().to_vec(),
    }
}
