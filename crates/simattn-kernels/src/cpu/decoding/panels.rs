//! A weight as decoding reads it.

use rayon::prelude::*;

use super::number::{Bf16, Numbers, halves, largest, reciprocal, whole};
use super::tile::PANEL;
use crate::call::NumberType;

/// A weight [outputs, inputs] in panels of 32 outputs, `[panel][input][32]`: a panel is one run of
/// memory, read once from its beginning to its end. The last panel is filled up with zeros.
#[derive(Clone, Debug, PartialEq)]
pub struct Panels {
    outputs: usize,
    inputs: usize,
    pub(super) numbers: Numbers,
    /// Of every output, with whole numbers.
    pub(super) scales: Option<Vec<f32>>,
}

impl Panels {
    /// `weight` [outputs, inputs], row after row, rounded to `number_type`.
    ///
    /// # Panics
    /// If `weight` does not hold exactly that many values.
    pub fn new(number_type: NumberType, outputs: usize, inputs: usize, weight: &[f32]) -> Self {
        assert_eq!(weight.len(), outputs * inputs, "values of a weight");
        let scales = (number_type == NumberType::Int8).then(|| {
            (0..outputs)
                .map(|output| largest(&weight[output * inputs..][..inputs]) / 127.0)
                .collect::<Vec<f32>>()
        });
        let mut numbers = Numbers::zeros(number_type, outputs.div_ceil(PANEL) * PANEL * inputs);
        match &mut numbers {
            Numbers::F32(to) => fill(to, outputs, inputs, weight, |_, row, to| {
                to.copy_from_slice(row);
            }),
            Numbers::Bf16(to) => fill(to, outputs, inputs, weight, |_, row, to| halves(row, to)),
            Numbers::Int8(to) => {
                let scales = scales.iter().flatten();
                let per_scale: Vec<f32> = scales.map(|&scale| reciprocal(scale)).collect();
                fill(to, outputs, inputs, weight, |output, row, to| {
                    whole(row, per_scale[output], to);
                });
            }
        }
        Self {
            outputs,
            inputs,
            numbers,
            scales,
        }
    }

    /// Features that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Features that go in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Panels of 32 outputs.
    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.numbers.bytes() + self.scales.as_ref().map_or(0, |scales| 4 * scales.len())
    }

    /// The weights of one output, widened: a row of an embedding.
    ///
    /// # Panics
    /// If there is no such output, or `row` has another length than `inputs`.
    pub fn read_row(&self, output: usize, row: &mut [f32]) {
        assert!(output < self.outputs, "row {output} of {}", self.outputs);
        assert_eq!(row.len(), self.inputs, "values of a row");
        let start = output / PANEL * PANEL * self.inputs + output % PANEL;
        match &self.numbers {
            Numbers::F32(from) => read(from, start, row, |x| x),
            Numbers::Bf16(from) => read(from, start, row, Bf16::wide),
            Numbers::Int8(from) => {
                let scale = self.scales.as_ref().map_or(1.0, |scales| scales[output]);
                read(from, start, row, |x| f32::from(x) * scale);
            }
        }
    }
}

fn fill<N: Copy + Default + Send>(
    to: &mut [N],
    outputs: usize,
    inputs: usize,
    weight: &[f32],
    narrow: impl Fn(usize, &[f32], &mut [N]) + Sync,
) {
    if inputs == 0 {
        return;
    }
    to.par_chunks_mut(PANEL * inputs)
        .enumerate()
        .for_each(|(panel, to)| {
            let first = panel * PANEL;
            let mut row = vec![N::default(); inputs];
            for column in 0..PANEL.min(outputs - first) {
                let output = first + column;
                narrow(output, &weight[output * inputs..][..inputs], &mut row);
                for (step, &x) in row.iter().enumerate() {
                    to[step * PANEL + column] = x;
                }
            }
        });
}

fn read<N: Copy>(from: &[N], start: usize, row: &mut [f32], wide: impl Fn(N) -> f32) {
    for (value, &x) in row.iter_mut().zip(from[start..].iter().step_by(PANEL)) {
        *value = wide(x);
    }
}
