//! `wgmma.mma_async`, which CubeCL does not know, as text: 64 rows of results over four planes, sums
//! in registers under names of their own, so that products stay under way between statements.

use cubecl::prelude::*;

use super::form::WgmmaForm;
use super::layout::DEPTH;
use crate::cube::tensor_cores::Chunk;
use crate::cube::tensor_cores::lanes::SIDE;

/// A line for each of a thread's sums.
fn each(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

/// The products of a block's terms, added to the named sums. Operands: both descriptors.
fn products(form: &WgmmaForm) -> String {
    let names: Vec<String> = (0..form.sums()).map(|i| format!("sum_{i}")).collect();
    let names = names.join(", ");
    let element = if form.bfloat { "bf16" } else { "f16" };
    let instruction = format!(
        "wgmma.mma_async.sync.aligned.m64n{}k16.f32.{element}.{element}",
        form.columns
    );
    let turned = [form.left_turned, form.right_turned].map(u8::from);
    let [left, right] = [form.left(), form.right()].map(|block| block.terms_apart());
    let mut text = String::from(
        "{\n.reg .pred p;\n.reg .u64 a, b;\nsetp.eq.u32 p, 0, 0;\nmov.u64 a, %0;\nmov.u64 b, %1;\n\
         wgmma.fence.sync.aligned;\n",
    );
    for _ in 0..DEPTH / SIDE {
        text += &format!(
            "{instruction} {{{names}}}, a, b, p, 1, 1, {}, {};\n\
             add.u64 a, a, {left};\nadd.u64 b, b, {right};\n",
            turned[0], turned[1]
        );
    }
    text + "wgmma.commit_group.sync.aligned;\n}"
}

/// Declares and clears a thread's sums; once in a kernel, outside of loops.
#[cube]
pub(super) fn declare_sums(#[comptime] form: WgmmaForm) {
    let zero = comptime!(each(form.sums(), |i| format!(
        "mov.f32 sum_{i}, 0f00000000;\n"
    )));
    gpu_asm!(".reg .f32 sum_<{}>;\n{}", const form.sums(), const zero);
}

/// Orders the products of a block, whose operands `left` and `right` describe.
#[cube]
pub(super) fn multiply(left: u64, right: u64, #[comptime] form: WgmmaForm) {
    let text = comptime!(products(&form));
    gpu_asm!("{text} // {a} {b}", a = in(_) value(left), b = in(_) value(right), text = const text);
}

/// Waits for all blocks that were ordered but the last.
#[cube]
pub(super) fn wait_but_one() {
    gpu_asm!("wgmma.wait_group.sync.aligned 1;");
}

/// The sums, when all products are done.
#[cube]
pub(super) fn read_sums<N: Size>(#[comptime] form: WgmmaForm) -> Vector<f32, N> {
    let result: Vector<f32, N>;
    let text = comptime!(
        "wgmma.wait_group.sync.aligned 0;\n".to_owned()
            + &each(form.sums(), |i| format!("mov.f32 %{i}, sum_{i};\n"))
    );
    gpu_asm!("{text} // {result}", result = out(_) result, text = const text);
    result
}

/// What was copied into shared memory is there for `wgmma` too, from the next barrier on.
#[cube]
pub(super) fn publish_copies() {
    gpu_asm!("fence.proxy.async.shared::cta;");
}

/// The address of shared memory, in units of 16 bytes.
#[cube]
pub(super) fn address<F: Float>(room: &Shared<[Chunk<F>]>) -> u64 {
    let place = room.as_slice().as_ptr();
    let address: u32;
    let text = comptime!("{ .reg .u64 a; cvta.to.shared.u64 a, $1; cvt.u32.u64 $0, a; }");
    gpu_asm!("{} // {} {}", const text, out(_) address, in(_) place, options(pure, nomem));
    u64::cast_from((address & 0x3ffffu32) >> 4u32)
}

/// A value to give to `gpu_asm!`: `in(_)` of a variable that changes is its address.
#[cube]
fn value(of: u64) -> u64 {
    u64::cast_from(of)
}
