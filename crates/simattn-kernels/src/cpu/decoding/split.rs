//! Attention of some rows to one split of keys.

use pulp::{Simd, WithSimd};

use super::number::{Bf16, Number};
use super::page_product::{
    Sides, feature, multiply_by, multiply_head, multiply_keys, multiply_values, prefetch, turn,
};
use super::pages::{KeyPage, PAGE, Store, ValuePage};
use super::tile::PANEL;
use super::view::{AttendShape, Page, SPLIT};
use crate::cpu::simd::exp;
use crate::cpu::tile::{load, store};

/// Keys of a split.
const KEYS: usize = SPLIT * PAGE;

/// Rows of queries, those of a token side by side, and the pages that they look at.
pub(super) struct Split<'a> {
    pub(super) shape: &'a AttendShape,
    pub(super) pages: &'a [Page<'a>],
    pub(super) kv_head: usize,
    pub(super) rows: usize,
    /// Rows of a token.
    pub(super) share: usize,
    /// Keys of this split that the first token sees, if there were so many.
    pub(super) visible: usize,
    /// Keys of this split that any of them sees.
    pub(super) keys: usize,
    pub(super) room: SplitRoom<'a>,
}

/// Queries, already scaled, and room for what comes of them.
pub(super) struct SplitRoom<'a> {
    /// [rows][query width]
    pub(super) queries: &'a [f32],
    /// [rows][256]
    pub(super) scores: &'a mut [f32],
    /// [rows][panels · 32]: the weighted values.
    pub(super) sums: &'a mut [f32],
    /// [rows][64]
    pub(super) beside: &'a mut [f32],
    /// A page of values, `[panels][64][32]`.
    pub(super) turned: &'a mut [f32],
    /// [rows][2]: greatest score and sum of weights.
    pub(super) ends: &'a mut [f32],
}

impl WithSimd for Split<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (keys, pages) = (self.keys, self.pages);
        let keys_of = |page: usize| (keys - page * PAGE).min(PAGE);
        for (number, page) in pages.iter().enumerate() {
            // A head's part of a page is too short for the hardware to see it coming.
            if let Page::Heads { values, .. } = page {
                prefetch(&values.store, self.kv_head);
            }
            if let Some(Page::Heads { keys, .. }) = pages.get(number + 1) {
                prefetch(&keys.store, self.kv_head);
            }
            self.scores(simd, number, page, keys_of(number));
        }
        let len = pages.len() * PAGE;
        for row in 0..self.rows {
            let visible = (self.visible + row / self.share).min(keys);
            let scores = &mut self.room.scores[row * KEYS..][..len];
            self.room.ends[2 * row..][..2].copy_from_slice(&softmax(simd, scores, visible));
        }
        for (number, page) in pages.iter().enumerate() {
            self.values(simd, number, page, keys_of(number));
        }
    }
}

/// Turns scores into weights relative to the greatest of the visible ones; gives that and the sum.
#[inline(always)]
fn softmax<S: Simd>(simd: S, scores: &mut [f32], visible: usize) -> [f32; 2] {
    scores[visible..].fill(f32::NEG_INFINITY);
    // Pages are whole vectors.
    let (vectors, _) = S::as_mut_simd_f32s(scores);
    let mut most = simd.splat_f32s(f32::NEG_INFINITY);
    for vector in vectors.iter() {
        most = simd.max_f32s(*vector, most);
    }
    let greatest = simd.reduce_max_f32s(most);
    let most = simd.splat_f32s(greatest);
    let mut total = simd.splat_f32s(0.0);
    for vector in vectors {
        *vector = exp(simd, simd.sub_f32s(*vector, most));
        total = simd.add_f32s(total, *vector);
    }
    [greatest, simd.reduce_sum_f32s(total)]
}

impl Split<'_> {
    /// The scores of one page.
    #[inline(always)]
    fn scores<S: Simd>(&mut self, simd: S, number: usize, page: &Page<'_>, keys: usize) {
        let width = self.shape.query_width;
        let sides = Sides {
            rows: self.rows,
            left: self.room.queries.as_ptr(),
            left_stride: width,
            target: self.room.scores[number * PAGE..].as_mut_ptr(),
            target_stride: KEYS,
            add: false,
        };
        match page {
            // SAFETY: rooms and pages have the sizes of the shape.
            Page::Heads { keys: page, .. } => unsafe {
                assert_eq!(page.width, width, "width of keys");
                multiply_keys(simd, page, self.kv_head, keys, sides);
            },
            // SAFETY: as above; the room beside holds a page of scores for each row.
            Page::Latent { latent, rope } => unsafe {
                assert_eq!(latent.width + rope.width, width, "widths of latent and key");
                multiply_keys(simd, latent, 0, keys, sides);
                let of_rope = Sides {
                    left: sides.left.add(latent.width),
                    target: self.room.beside.as_mut_ptr(),
                    target_stride: PAGE,
                    ..sides
                };
                multiply_keys(simd, rope, 0, keys, of_rope);
                self.add_beside(simd, number, keys, |_| None);
            },
            Page::Factors { key_a, key_b, .. } => {
                assert_eq!(key_b.width, width, "width of keys");
                let rank = key_b.heads;
                for part in 0..rank {
                    let of_part = Sides {
                        target: self.room.beside.as_mut_ptr(),
                        target_stride: PAGE,
                        ..sides
                    };
                    // SAFETY: as above.
                    unsafe { multiply_keys(simd, key_b, part, keys, of_part) };
                    if part == 0 {
                        for row in 0..self.rows {
                            self.room.scores[row * KEYS + number * PAGE..][..PAGE].fill(0.0);
                        }
                    }
                    let share = self.share;
                    let factor = |row: usize| Some((&key_a.store, row % share * rank + part));
                    self.add_beside(simd, number, keys, factor);
                }
                let share = simd.splat_f32s(1.0 / rank as f32);
                for row in 0..self.rows {
                    let scores = &mut self.room.scores[row * KEYS + number * PAGE..][..PAGE];
                    for score in S::as_mut_simd_f32s(scores).0 {
                        *score = simd.mul_f32s(*score, share);
                    }
                }
            }
        }
    }

    /// Adds what lies beside to a page's scores, multiplied by a feature of the page's tokens where
    /// `factor` names one for a row.
    #[inline(always)]
    fn add_beside<'p, S: Simd>(
        &mut self,
        simd: S,
        number: usize,
        keys: usize,
        factor: impl Fn(usize) -> Option<(&'p Store, usize)>,
    ) {
        for row in 0..self.rows {
            let of_row = factor(row);
            for at in (0..keys.next_multiple_of(PANEL)).step_by(S::F32_LANES) {
                // SAFETY: whole vectors inside this row's page of scores and what lies beside.
                unsafe {
                    let beside = load(simd, self.room.beside[row * PAGE..].as_ptr().add(at));
                    let score = self.room.scores[row * KEYS + number * PAGE..].as_mut_ptr();
                    let before = load(simd, score.add(at));
                    let sum = match of_row {
                        Some((store, d)) => {
                            simd.mul_add_e_f32s(beside, feature(simd, store, d, at), before)
                        }
                        None => simd.add_f32s(before, beside),
                    };
                    store(simd, score.add(at), sum);
                }
            }
        }
    }

    /// Adds one page's weighted values.
    #[inline(always)]
    fn values<S: Simd>(&mut self, simd: S, number: usize, page: &Page<'_>, keys: usize) {
        let padded = self.shape.value_width.div_ceil(PANEL) * PANEL;
        let panels = padded / PANEL;
        let sides = Sides {
            rows: self.rows,
            left: self.room.scores[number * PAGE..].as_ptr(),
            left_stride: KEYS,
            target: self.room.sums.as_mut_ptr(),
            target_stride: padded,
            add: number > 0,
        };
        match page {
            Page::Heads { values, .. } => {
                assert_eq!(values.width, self.shape.value_width, "width of values");
                if let Some(scales) = values.store.scales_of(self.kv_head) {
                    self.scale_weights(simd, number, scales);
                }
                // SAFETY: rooms and pages have the sizes of the shape.
                unsafe { multiply_head(simd, values, self.kv_head, panels, keys, sides) };
            }
            Page::Latent { latent, .. } => {
                assert_eq!(latent.width, self.shape.value_width, "width of the latent");
                turn(simd, latent, keys, self.room.turned);
                // SAFETY: as above.
                unsafe { multiply_values(simd, &*self.room.turned, panels, keys, sides) };
            }
            Page::Factors {
                value_a, value_b, ..
            } => {
                assert_eq!(value_b.width, self.shape.value_width, "width of values");
                for part in 0..value_b.heads {
                    self.weigh(simd, number, keys, value_a, value_b, part);
                    let of_part = Sides {
                        left: self.room.beside.as_ptr(),
                        left_stride: PAGE,
                        add: number > 0 || part > 0,
                        ..sides
                    };
                    // SAFETY: as above.
                    unsafe { multiply_head(simd, value_b, part, panels, keys, of_part) };
                }
            }
        }
    }

    #[inline(always)]
    fn scale_weights<S: Simd>(&mut self, simd: S, number: usize, scales: &[Bf16]) {
        for row in 0..self.rows {
            let weights = &mut self.room.scores[row * KEYS + number * PAGE..][..PAGE];
            // SAFETY: a page of weights, and as many scales.
            unsafe { multiply_by(simd, weights.as_mut_ptr(), scales, PAGE) };
        }
    }

    /// Weights of a page times the factors A of one part, divided by the rank, to the room beside.
    #[inline(always)]
    fn weigh<S: Simd>(
        &mut self,
        simd: S,
        number: usize,
        keys: usize,
        value_a: &KeyPage,
        value_b: &ValuePage,
        part: usize,
    ) {
        let rank = value_b.heads;
        let share = simd.splat_f32s(1.0 / rank as f32);
        let scales = value_b.store.scales_of(part);
        for row in 0..self.rows {
            let d = row % self.share * rank + part;
            for at in (0..keys.next_multiple_of(PANEL)).step_by(S::F32_LANES) {
                // SAFETY: whole vectors inside a page.
                unsafe {
                    let weights = self.room.scores[row * KEYS + number * PAGE..].as_ptr();
                    let factor = simd.mul_f32s(feature(simd, &value_a.store, d, at), share);
                    let mut weight = simd.mul_f32s(load(simd, weights.add(at)), factor);
                    if let Some(scales) = scales {
                        weight = simd.mul_f32s(weight, Bf16::load(simd, scales.as_ptr().add(at)));
                    }
                    store(
                        simd,
                        self.room.beside[row * PAGE..].as_mut_ptr().add(at),
                        weight,
                    );
                }
            }
        }
    }
}
