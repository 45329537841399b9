//! NVIDIA's tensor cores from compute capability 8.0 on, with what CubeCL says only there: products
//! whose values lie at known places in registers, and asynchronous copies into shared memory.
//!
//! `lanes` says which thread holds which value, `products` multiplies; attention
//! (`attention/mma`), expansions (`expansion/mma`) and products of matrices (`product`) are made of
//! them.

pub(super) mod lanes;
pub(super) mod products;

use cubecl::client::Client;
use cubecl::ir::features::MmaConfig;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;

use self::lanes::{COLUMNS, PLANE, SIDE, row_chunks};

/// What a thread copies at once, 16 bytes.
pub(super) type Chunk<F> = Vector<F, Const<8>>;

/// Shared memory for `count` rows of `width` values.
#[cube]
pub(in crate::cube) fn staged<F: Float>(
    #[comptime] count: usize,
    #[comptime] width: usize,
) -> Shared<[Chunk<F>]> {
    Shared::<[Chunk<F>]>::new_aligned_slice(comptime!(count * row_chunks(width)), 16usize)
}

/// The copies since the last call are a group from now on.
#[cube]
pub(in crate::cube) fn close_group() {
    gpu_asm!("cp.async.commit_group;");
}

/// Waits for this thread's groups but the last `pending`.
#[cube]
pub(in crate::cube) fn wait_groups(#[comptime] pending: usize) {
    gpu_asm!("cp.async.wait_group {};", const pending);
}

/// Whether a device has what these kernels are made of, for values of type `element`: products over
/// a plane in registers, `ldmatrix`, and asynchronous copies. CubeCL reports the last only where
/// NVRTC compiles, which also takes PTX in the middle of a kernel.
pub(in crate::cube) fn available(client: &Client, element: ElemType) -> bool {
    let properties = client.properties();
    let matmul = &properties.features.matmul;
    let product = MmaConfig {
        a_type: element,
        b_type: element,
        cd_type: ElemType::Float(FloatKind::F32),
        m: SIDE as u32,
        n: COLUMNS as u32,
        k: SIDE as u32,
    };
    element.size() == 2
        && properties.hardware.plane_size_min as usize == PLANE
        && properties.hardware.plane_size_max as usize == PLANE
        && matmul.mma.contains(&product)
        && matmul.ldmatrix.contains(&element)
        && properties.features.copy_async
}
