//! 64 tokens of a cache.

use rayon::prelude::*;

use super::number::{Bf16, Numbers, halves, largest, reciprocal, whole};
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
                tokens.each(head, |slot, row| scatter(row, to, |d| place(slot, d)));
            }),
            Numbers::Bf16(to) => each_head(to, head_len, tokens.count, |head, to| {
                let mut narrow = vec![Bf16::default(); tokens.width];
                tokens.each(head, |slot, row| {
                    halves(row, &mut narrow);
                    scatter(&narrow, to, |d| place(slot, d));
                });
            }),
            Numbers::Int8(to) => {
                each_head(&mut self.scales, PAGE, tokens.count, |head, scales| {
                    tokens.each(head, |slot, row| {
                        scales[slot] = Bf16::not_below(largest(row) / 127.0);
                    });
                });
                let scales = &self.scales;
                each_head(to, head_len, tokens.count, |head, to| {
                    let mut narrow = vec![0; tokens.width];
                    tokens.each(head, |slot, row| {
                        let per_scale = reciprocal(scales[head * PAGE + slot].wide());
                        whole(row, per_scale, &mut narrow);
                        scatter(&narrow, to, |d| place(slot, d));
                    });
                });
            }
        }
    }

    /// One head of one slot, widened.
    fn read(&self, head: usize, slot: usize, row: &mut [f32], place: impl Fn(usize) -> usize) {
        let part = head * self.head_len..(head + 1) * self.head_len;
        match &self.numbers {
            Numbers::F32(from) => gather(&from[part], row, place, |x| x),
            Numbers::Bf16(from) => gather(&from[part], row, place, Bf16::wide),
            Numbers::Int8(from) => {
                let scale = self.scales[head * PAGE + slot].wide();
                gather(&from[part], row, place, |x| f32::from(x) * scale);
            }
        }
    }
}

fn scatter<N: Copy>(row: &[N], to: &mut [N], place: impl Fn(usize) -> usize) {
    for (d, &x) in row.iter().enumerate() {
        to[place(d)] = x;
    }
}

fn gather<N: Copy>(
    from: &[N],
    row: &mut [f32],
    place: impl Fn(usize) -> usize,
    wide: impl Fn(N) -> f32,
) {
    for (d, value) in row.iter_mut().enumerate() {
        *value = wide(from[place(d)]);
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
