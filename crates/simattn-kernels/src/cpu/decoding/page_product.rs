//! Products with one page, and its features one by one.

use pulp::Simd;

use super::number::{Bf16, Number, Numbers};
use super::pages::{KeyPage, PAGE, Store, ValuePage};
use super::tile::{PANEL, Steps, Tile};
use crate::cpu::tile::{load, store};

/// `$body` with `$numbers` the slice of whatever type the store holds.
macro_rules! of_any_type {
    ($store:expr, $numbers:ident => $body:expr) => {
        match &$store.numbers {
            Numbers::F32($numbers) => $body,
            Numbers::Bf16($numbers) => $body,
            Numbers::Int8($numbers) => $body,
        }
    };
}

/// Asks for one head's part of a page, where the processor can be asked.
#[inline(always)]
pub(super) fn prefetch(store: &Store, head: usize) {
    #[cfg(target_arch = "x86_64")]
    of_any_type!(store, numbers => {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let part = &numbers[head * store.head_len..][..store.head_len];
        let start = part.as_ptr().cast::<i8>();
        for at in (0..size_of_val(part)).step_by(LINE) {
            // SAFETY: the address lies inside the part; a prefetch reads nothing.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(at)) };
        }
    });
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (store, head);
}

/// Bytes of a line of the cache.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Rows on the left of a page's product, and where it goes.
#[derive(Clone, Copy)]
pub(super) struct Sides {
    pub(super) rows: usize,
    pub(super) left: *const f32,
    pub(super) left_stride: usize,
    pub(super) target: *mut f32,
    pub(super) target_stride: usize,
    pub(super) add: bool,
}

/// Scores of the first `keys` keys of one head.
///
/// # Safety
/// The sides are valid for the page's width and `keys` rounded up to whole panels.
#[inline(always)]
pub(super) unsafe fn multiply_keys<S: Simd>(
    simd: S,
    page: &KeyPage,
    head: usize,
    keys: usize,
    sides: Sides,
) {
    let panels = keys.div_ceil(PANEL);
    let base = head * page.store.head_len;
    of_any_type!(page.store, numbers => {
        let numbers = &numbers[base..][..page.store.head_len];
        // SAFETY: a page holds two panels of `width` rows for each head.
        unsafe {
            Tile {
                rows: sides.rows,
                left: sides.left,
                left_stride: sides.left_stride,
                right: numbers.as_ptr(),
                panels,
                panel_stride: page.width * PANEL,
                steps: Steps::of_panel(page.width),
                target: sides.target,
                target_stride: sides.target_stride,
                add: false,
            }
            .run(simd);
        }
    });
    if let Some(scales) = page.store.scales_of(head) {
        for row in 0..sides.rows {
            // SAFETY: the vectors that the product has just written.
            unsafe {
                let scores = sides.target.add(row * sides.target_stride);
                multiply_by(simd, scores, scales, panels * PANEL);
            }
        }
    }
}

/// values[i] ·= factors[i] for `count` values, whole vectors.
///
/// # Safety
/// `values` is valid for `count` values; there are as many factors.
#[inline(always)]
pub(super) unsafe fn multiply_by<S: Simd>(
    simd: S,
    values: *mut f32,
    factors: &[Bf16],
    count: usize,
) {
    for at in (0..count).step_by(S::F32_LANES) {
        // SAFETY: the caller's promise.
        unsafe {
            let factor = Bf16::load(simd, factors.as_ptr().add(at));
            let value = load(simd, values.add(at));
            store(simd, values.add(at), simd.mul_f32s(value, factor));
        }
    }
}

/// Weighted sums of the first `keys` values, which lie in `[panels][64][32]`.
///
/// # Safety
/// The sides are valid for `keys` weights and `panels` panels of results.
#[inline(always)]
pub(super) unsafe fn multiply_values<S: Simd, N: Number>(
    simd: S,
    values: &[N],
    panels: usize,
    keys: usize,
    sides: Sides,
) {
    assert!(values.len() >= panels * PAGE * PANEL, "values of a page");
    // SAFETY: a page holds `panels` panels of 64 rows.
    unsafe {
        Tile {
            rows: sides.rows,
            left: sides.left,
            left_stride: sides.left_stride,
            right: values.as_ptr(),
            panels,
            panel_stride: PAGE * PANEL,
            steps: Steps::of_panel(keys),
            target: sides.target,
            target_stride: sides.target_stride,
            add: sides.add,
        }
        .run(simd);
    }
}

/// One vector of a feature of a page's tokens, from slot `at` on; the page has one head.
///
/// # Safety
/// The page has the feature, and `at` is a multiple of a vector inside it.
#[inline(always)]
pub(super) unsafe fn feature<S: Simd>(simd: S, store: &Store, d: usize, at: usize) -> S::f32s {
    let width = store.head_len / PAGE;
    debug_assert!(d < width, "feature {d} of {width}");
    let place = (at / PANEL * width + d) * PANEL + at % PANEL;
    // SAFETY: the caller's promise.
    unsafe {
        let value = of_any_type!(store, numbers => Number::load(simd, numbers.as_ptr().add(place)));
        match store.scales_of(0) {
            Some(scales) => simd.mul_f32s(value, Bf16::load(simd, scales.as_ptr().add(at))),
            None => value,
        }
    }
}

/// [`multiply_values`] of one head.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn multiply_head<S: Simd>(
    simd: S,
    page: &ValuePage,
    head: usize,
    panels: usize,
    keys: usize,
    sides: Sides,
) {
    of_any_type!(page.store, numbers => {
        let numbers = &numbers[head * page.store.head_len..][..page.store.head_len];
        // SAFETY: the caller's promise.
        unsafe { multiply_values(simd, numbers, panels, keys, sides) };
    });
}

/// The first keys of a page as values: `[panels][64 tokens][32 features]`, widened.
#[inline(always)]
pub(super) fn turn<S: Simd>(simd: S, page: &KeyPage, keys: usize, to: &mut [f32]) {
    let width = page.width;
    for panel in 0..width.div_ceil(PANEL) {
        let to = &mut to[panel * PAGE * PANEL..][..PAGE * PANEL];
        for column in 0..PANEL {
            let d = panel * PANEL + column;
            for at in (0..keys.next_multiple_of(PANEL)).step_by(S::F32_LANES) {
                let mut values = [0.0f32; 16];
                if d < width {
                    // SAFETY: a feature of the page, and the array holds any vector.
                    unsafe {
                        store(simd, values.as_mut_ptr(), feature(simd, &page.store, d, at));
                    }
                }
                for (lane, value) in values.iter().enumerate().take(S::F32_LANES) {
                    to[(at + lane) * PANEL + column] = *value;
                }
            }
        }
    }
}
