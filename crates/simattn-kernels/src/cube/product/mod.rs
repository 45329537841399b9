//! Products of matrices on CubeCL devices: one of our own on NVIDIA's tensor cores, cubek's by
//! strategies that are chosen here everywhere else.

mod form;
mod kernel;
mod mma;
mod tile;
mod wgmma;

use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use cubecl::zspace::Strides;
use cubecl::zspace::metadata::Metadata;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use super::tensor::{indexable, unwritten, zeros};

/// `left` [M, K] · `right` [K, N], both of one type, in `dtype`: [M, N], end to end.
pub(super) fn product(left: CubeTensor, right: CubeTensor, dtype: DType) -> CubeTensor {
    product_with(left, right, None, dtype).0
}

/// The same, and whether `bias` `[N]` of the operands' type has been added to every row, which not
/// every way to multiply can.
pub(super) fn product_with(
    left: CubeTensor,
    right: CubeTensor,
    bias: Option<&CubeTensor>,
    dtype: DType,
) -> (CubeTensor, bool) {
    let ([rows, depth], [inner, columns]) = (left.meta.shape().dims(), right.meta.shape().dims());
    assert_eq!(depth, inner, "the axis that a product sums over");
    if rows * columns * depth == 0 {
        return (zeros(&left, [rows, columns], dtype), false);
    }
    let out = unwritten(&left, [rows, columns], dtype);
    if mma::multiply(&left, &right, bias, &out) {
        return (out, bias.is_some());
    }
    cubek_product(left, right, &out);
    (out, false)
}

/// `left` [A, B, M, K] · `right` [A, B, K, N], both of one type: [A, B, M, N] in it, end to end.
pub(crate) fn products(left: CubeTensor, right: CubeTensor) -> CubeTensor {
    let [left, right] = [left, right].map(indexable);
    let ([a, b, rows, depth], [_, _, _, columns]) =
        (left.meta.shape().dims(), right.meta.shape().dims());
    let (shape, dtype) = ([a, b, rows, columns], left.dtype);
    if a * b * rows * columns * depth == 0 {
        return zeros(&left, shape, dtype);
    }
    let out = unwritten(&left, shape, dtype);
    products_in(left, right, &out);
    out
}

/// `left` [.., M, K] · `right` [.., K, N], both of one type and none of them empty, written to
/// `out` [.., M, N].
pub(super) fn products_in(left: CubeTensor, right: CubeTensor, out: &CubeTensor) {
    if !mma::multiply(&left, &right, None, out) {
        cubek_product(left, right, out);
    }
}

fn cubek_product(left: CubeTensor, right: CubeTensor, out: &CubeTensor) {
    let [of_left, of_right, of_out] = [&left, &right, out].map(|x| dtype_to_storage_type(x.dtype));
    let mut types = MatmulElems::from_globals(&MatmulGlobalElems {
        lhs: of_left,
        rhs: of_right,
        out: of_out,
    });
    let strategy = strategy(left.dtype);
    launch_ref(
        &strategy,
        &out.client,
        InputBinding::new(left.binding(), of_left),
        InputBinding::new(right.binding(), of_right),
        out.clone().binding(),
        &mut types,
    )
    .unwrap_or_else(|error| panic!("{strategy} multiplies matrices whose shapes fit: {error:?}"));
}

/// The way to multiply matrices of this type.
///
/// Matrix units take float32 in fewer bits (TF32, ten behind the point) on NVIDIA's cards, so
/// float32 is multiplied without them; half-precision types with them, where the device has some.
fn strategy(dtype: DType) -> Strategy {
    match dtype {
        DType::F32 => multi_level::Strategy::SimpleUnit(Default::default()).into(),
        _ => Strategy::Auto,
    }
}

/// Matrices [.., M, N] seen as [.., N, M]; nothing moves.
pub(super) fn transposed(x: CubeTensor) -> CubeTensor {
    let (mut shape, mut strides) = (x.meta.shape().to_vec(), x.meta.strides().to_vec());
    let last = shape.len() - 1;
    shape.swap(last - 1, last);
    strides.swap(last - 1, last);
    let meta = Metadata::new(Shape::from(shape), Strides::new(&strides));
    CubeTensor::new(x.client, x.handle, meta, x.device, x.dtype)
}
