//! Few rows by a weight.

use std::ops::Range;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::number::{Number, Numbers};
use super::panels::Panels;
use super::tile::{PANEL, Steps, Tile};
use crate::cpu::memory::{Shared, read_at, with_scratch};
use crate::cpu::output::overwriting;
use crate::cpu::simd::InstructionSet;

/// Rows of values inside a slice.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// From the first value of the first row.
    pub values: &'a [f32],
    /// Distance between rows.
    pub stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `width` values, one behind the other.
    pub fn dense(values: &'a [f32], width: usize) -> Self {
        Self {
            values,
            stride: width,
        }
    }

    /// The first `width` values of a row.
    pub(super) fn row(&self, row: usize, width: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..width]
    }
}

/// A task multiplies panels of at least so many bytes, counted once for every eight rows.
const TASK: usize = 64 * 1024;

/// `y` (+)= x·weightᵀ + bias: `rows` rows, those of `y` of `y_stride` values. With `add` the
/// product is added to what `y` holds.
///
/// A row of the result depends on its own row of `x` alone, bit for bit.
///
/// # Panics
/// If a slice is too short.
pub fn product(
    weight: &Panels,
    rows: usize,
    x: Rows<'_>,
    bias: Option<&[f32]>,
    y: &mut [f32],
    y_stride: usize,
    add: bool,
) {
    let (inputs, outputs) = (weight.inputs(), weight.outputs());
    if rows == 0 || outputs == 0 {
        return;
    }
    assert!(
        x.values.len() >= (rows - 1) * x.stride + inputs,
        "rows that are multiplied"
    );
    assert!(
        y.len() >= (rows - 1) * y_stride + outputs && outputs <= y_stride,
        "room for a product"
    );
    assert!(
        bias.is_none_or(|bias| bias.len() == outputs),
        "a bias for each output"
    );
    let panel_cost = weight.bytes() / weight.panels() * rows.div_ceil(8);
    let together = (TASK / panel_cost.max(1)).max(1);
    let call = Call {
        weight,
        rows,
        x,
        bias,
        // SAFETY: only values are stored.
        y: Shared::from_output(unsafe { overwriting(y) }),
        y_stride,
        add,
    };
    (0..weight.panels().div_ceil(together))
        .into_par_iter()
        .for_each(|task| {
            let end = weight.panels().min((task + 1) * together);
            call.panels(task * together..end);
        });
}

struct Call<'a> {
    weight: &'a Panels,
    rows: usize,
    x: Rows<'a>,
    bias: Option<&'a [f32]>,
    y: Shared,
    y_stride: usize,
    add: bool,
}

impl Call<'_> {
    fn panels(&self, panels: Range<usize>) {
        with_scratch([self.rows * PANEL], |[sums]| {
            let set = InstructionSet::current();
            match &self.weight.numbers {
                Numbers::F32(numbers) => set.run(self.of(panels, numbers, sums)),
                Numbers::Bf16(numbers) => set.run(self.of(panels, numbers, sums)),
                Numbers::Int8(numbers) => set.run(self.of(panels, numbers, sums)),
            }
        });
    }

    fn of<'a, N>(
        &'a self,
        panels: Range<usize>,
        numbers: &'a [N],
        sums: &'a mut [f32],
    ) -> OfPanels<'a, N> {
        OfPanels {
            call: self,
            panels,
            numbers,
            sums,
        }
    }
}

struct OfPanels<'a, N> {
    call: &'a Call<'a>,
    panels: Range<usize>,
    numbers: &'a [N],
    sums: &'a mut [f32],
}

impl<N: Number> WithSimd for OfPanels<'_, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let call = self.call;
        let (rows, inputs) = (call.rows, call.weight.inputs());
        // One by one even for few rows: two panels are two streams, and memory is slower then.
        for panel in self.panels {
            let numbers = &self.numbers[panel * PANEL * inputs..][..PANEL * inputs];
            let tile = Tile {
                rows,
                left: read_at(call.x.values, 0, (rows - 1) * call.x.stride + inputs),
                left_stride: call.x.stride,
                right: numbers.as_ptr(),
                panels: 1,
                panel_stride: 0,
                steps: Steps::of_panel(inputs),
                target: self.sums.as_mut_ptr(),
                target_stride: PANEL,
                add: false,
            };
            // SAFETY: the rows were checked by `product`; the panel and the room for the sums hold
            // what the shapes say.
            unsafe { tile.run(simd) };
            call.finish(panel, self.sums);
        }
    }
}

impl Call<'_> {
    /// Scales, biases and delivers the sums of a panel.
    #[inline(always)]
    fn finish(&self, panel: usize, sums: &mut [f32]) {
        let first = panel * PANEL;
        let columns = PANEL.min(self.weight.outputs() - first);
        for (row, sums) in sums.chunks_exact_mut(PANEL).enumerate() {
            if let Some(scales) = &self.weight.scales {
                for (sum, scale) in sums.iter_mut().zip(&scales[first..][..columns]) {
                    *sum *= scale;
                }
            }
            if let Some(bias) = self.bias {
                for (sum, bias) in sums.iter_mut().zip(&bias[first..][..columns]) {
                    *sum += bias;
                }
            }
            let to = self.y.at(row * self.y_stride + first, columns);
            // SAFETY: these columns of this row belong to this task alone, inside `y` as `product`
            // checked.
            let to = unsafe { std::slice::from_raw_parts_mut(to, columns) };
            if self.add {
                for (y, sum) in to.iter_mut().zip(sums) {
                    *y += *sum;
                }
            } else {
                to.copy_from_slice(&sums[..columns]);
            }
        }
    }
}
