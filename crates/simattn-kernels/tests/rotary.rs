//! The rotation of positions against its definition, values and gradient.

use burn::tensor::{DType, Device, Distribution, Tensor};
use simattn_kernels::Kernels;
use simattn_kernels::reference::RopeTable;

/// Values and the gradient of x, as bits.
fn run(kernels: Kernels, x: &Tensor<4>, dy: &Tensor<4>, table: &RopeTable) -> [Vec<u32>; 2] {
    let x = x.clone().autodiff().require_grad();
    let y = kernels.rotate(x.clone(), table);
    let bits = |x: Tensor<4>| x.into_data().iter::<f32>().map(f32::to_bits).collect();
    let gradients = (y.clone() * dy.clone().autodiff()).sum().backward();
    let dx = x.grad(&gradients).expect("x is used");
    [bits(y.inner()), bits(dx)]
}

#[test]
fn the_kernel_rotates_and_turns_back_bit_for_bit_as_the_definition() {
    let device = Device::flex();
    let cases = [
        ([1, 1, 1, 2], 2),
        ([2, 7, 3, 10], 10),
        ([3, 5, 2, 13], 6),
        ([1, 300, 4, 64], 64),
    ];
    for (shape, rotary) in cases {
        let random = || Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let (x, dy) = (random(), random());
        let table = RopeTable::new(shape[1], 3, rotary, 10_000.0, &device, DType::F32);
        let got = run(Kernels::Fast, &x, &dy, &table);
        let expected = run(Kernels::Reference, &x, &dy, &table);
        assert!(got == expected, "{shape:?}, {rotary} features");
        // A view that is not contiguous.
        let swapped = x.clone().swap_dims(1, 2);
        let view = swapped.clone().swap_dims(1, 2);
        assert!(run(Kernels::Fast, &view, &dy, &table) == expected);
    }
}

#[test]
fn narrow_heads_rotate_in_the_tables_type() {
    let device = Device::flex();
    let x = Tensor::<4>::random([2, 7, 3, 10], Distribution::Normal(0.0, 1.0), &device);
    let x = x.cast(DType::BF16);
    let table = RopeTable::new(7, 0, 10, 10_000.0, &device, DType::F32);
    for kernels in [Kernels::Fast, Kernels::Reference] {
        let got = kernels.rotate(x.clone(), &table);
        assert_eq!(got.dtype(), DType::BF16);
        let expected = kernels
            .rotate(x.clone().cast(DType::F32), &table)
            .cast(DType::BF16);
        assert_eq!(got.into_data(), expected.into_data());
    }
}
