//! 64 tokens of a cache.

use rayon::prelude::*;

use super::number::{Bf16, Numbers, largest, reciprocal, whole};
use super::product::Rows;
use super::tile::PANEL;
use crate::call::NumberType;

/// Tokens of a page.
pub const PAGE: usize = 64;

/// Keys with tokens in the lanes: of every head `[2][width][32 tokens]`. Scores of 64 keys are a
/// product with queries on the left.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyPage {
    pub(super) heads: usize,
    pub(super) width: usize,
    pub(super) store: Store,
}

/// Values with features in the lanes: of every head `[panels][64 tokens][32 features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ValuePage {
    pub(super) heads: usize,
    pub(super) width: usize,
    pub(super) store: Store,
}

/// The numbers of all heads, and with whole numbers the scales.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Store {
    pub(super) numbers: Numbers,
    /// [heads][64]; empty without whole numbers.
    pub(super) scales: Vec<Bf16>,
    /// Numbers of a head.
    pub(super) head_len: usize,
}

impl Store {
    fn new(number_type: NumberType, heads: usize, head_len: usize) -> Self {
        let scales = match number_type {
            NumberType::Int8 => heads * PAGE,
            _ => 0,
        };
        Self {
            numbers: Numbers::zeros(number_type, heads * head_len),
            scales: vec![Bf16::default(); scales],
            head_len,
        }
    }

    fn bytes(&self) -> usize {
        self.numbers.bytes() + 2 * self.scales.len()
    }

    /// The scales of a head's tokens.
    pub(super) fn scales_of(&self, head: usize) -> Option<&[Bf16]> {
        (!self.scales.is_empty()).then(|| &self.scales[head * PAGE..][..PAGE])
    }

    /// Writes tokens from `slot` on; `place` says where a head keeps a feature of a slot.
    fn write(&mut self, tokens: Tokens<'_>, place: impl Fn(usize, usize) -> usize + Sync) {
        assert!(tokens.slot + tokens.count <= PAGE, "tokens of a page");
        let head_len = self.head_len;
        match &mut self.numbers {
            Numbers::F32(to) => each_head(to, head_len, tokens.count, |head, to| {
                tokens.each(head, |slot, row| {
                    for (d, &x) in row.iter().enumerate() {
                        to[place(slot, d)] = x;
                    }
                });
            }),
            Numbers::Bf16(to) => each_head(to, head_len, tokens.count, |head, to| {
                tokens.each(head, |slot, row| {
                    for (d, &x) in row.iter().enumerate() {
                        to[place(slot, d)] = Bf16::nearest(x);
                    }
                });
            }),
            Numbers::Int8(to) => {
                each_head(&mut self.scales, PAGE, tokens.count, |head, scales| {
                    tokens.each(head, |slot, row| {
                        scales[slot] = Bf16::not_below(largest(row.iter().copied()) / 127.0);
                    });
                });
                let scales = &self.scales;
                each_head(to, head_len, tokens.count, |head, to| {
                    tokens.each(head, |slot, row| {
                        let per_scale = reciprocal(scales[head * PAGE + slot].wide());
                        for (d, &x) in row.iter().enumerate() {
                            to[place(slot, d)] = whole(x, per_scale);
                        }
                    });
                });
            }
        }
    }

    /// One head of one slot, widened.
    fn read(&self, head: usize, slot: usize, row: &mut [f32], place: impl Fn(usize) -> usize) {
        let base = head * self.head_len;
        for (d, value) in row.iter_mut().enumerate() {
            let at = base + place(d);
            *value = match &self.numbers {
                Numbers::F32(from) => from[at],
                Numbers::Bf16(from) => from[at].wide(),
                Numbers::Int8(from) => f32::from(from[at]) * self.scales[head * PAGE + slot].wide(),
            };
        }
    }
}

/// Rows of heads to be written.
struct Tokens<'a> {
    slot: usize,
    count: usize,
    rows: Rows<'a>,
    width: usize,
}

impl Tokens<'_> {
    fn each(&self, head: usize, mut write: impl FnMut(usize, &[f32])) {
        for token in 0..self.count {
            let start = token * self.rows.stride + head * self.width;
            write(self.slot + token, &self.rows.values[start..][..self.width]);
        }
    }
}

/// `work` on every head's part, on all threads where there are many tokens.
fn each_head<N: Send>(
    all: &mut [N],
    head_len: usize,
    tokens: usize,
    work: impl Fn(usize, &mut [N]) + Sync,
) {
    const MANY: usize = 8;
    if head_len == 0 {
        return;
    }
    if tokens < MANY {
        for (head, part) in all.chunks_exact_mut(head_len).enumerate() {
            work(head, part);
        }
        return;
    }
    all.par_chunks_exact_mut(head_len)
        .enumerate()
        .for_each(|(head, part)| work(head, part));
}

impl KeyPage {
    /// An empty page.
    pub fn new(number_type: NumberType, heads: usize, width: usize) -> Self {
        Self {
            heads,
            width,
            store: Store::new(number_type, heads, width * PAGE),
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Writes `count` tokens from `slot` on; rows of all heads, one behind the other.
    ///
    /// # Panics
    /// If tokens or rows do not fit.
    pub fn write(&mut self, slot: usize, count: usize, rows: Rows<'_>) {
        let width = self.width;
        let tokens = Tokens {
            slot,
            count,
            rows,
            width,
        };
        self.store.write(tokens, |slot, d| {
            (slot / PANEL * width + d) * PANEL + slot % PANEL
        });
    }
}

impl ValuePage {
    /// An empty page.
    pub fn new(number_type: NumberType, heads: usize, width: usize) -> Self {
        Self {
            heads,
            width,
            store: Store::new(number_type, heads, width.div_ceil(PANEL) * PANEL * PAGE),
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Writes `count` tokens from `slot` on; rows of all heads, one behind the other.
    ///
    /// # Panics
    /// If tokens or rows do not fit.
    pub fn write(&mut self, slot: usize, count: usize, rows: Rows<'_>) {
        let tokens = Tokens {
            slot,
            count,
            rows,
            width: self.width,
        };
        self.store.write(tokens, Self::place);
    }

    /// The token in `slot`, as it was rounded: all heads, one behind the other.
    ///
    /// # Panics
    /// If there is no such slot or `row` has another length.
    pub fn read(&self, slot: usize, row: &mut [f32]) {
        assert!(slot < PAGE, "slot {slot} of a page");
        assert_eq!(row.len(), self.heads * self.width, "values of a token");
        for (head, row) in row.chunks_exact_mut(self.width.max(1)).enumerate() {
            self.store.read(head, slot, row, |d| Self::place(slot, d));
        }
    }

    fn place(slot: usize, d: usize) -> usize {
        (d / PANEL * PAGE + slot) * PANEL + d % PANEL
    }
}
