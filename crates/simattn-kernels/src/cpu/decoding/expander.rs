//! The expansion of SAS for single tokens, features in the lanes.
//!
//! A convolution along the features is a product of its weights with shifted features: the right
//! operand of tap t begins t features further. All of a token stays in the first- and second-level
//! cache, and a token's result does not depend on its neighbours.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::number::Numbers;
use super::panels::Panels;
use super::product::Rows;
use super::tile::{PANEL, Steps, Tile};
use crate::call::{Expansion, ExpansionOptions, NumberType, Stage};
use crate::cpu::memory::{Shared, with_scratch};
use crate::cpu::output::overwriting;
use crate::cpu::simd::InstructionSet;

/// An expansion's weights as single tokens meet them.
#[derive(Clone, Debug)]
pub struct Expander {
    heads: usize,
    width: usize,
    expanded_heads: usize,
    expanded_width: usize,
    kernel_size: usize,
    convolutions: Option<[Convolution; 2]>,
    maps: Option<[Map; 2]>,
    options: ExpansionOptions,
}

#[derive(Clone, Debug)]
struct Convolution {
    /// [outputs][κ][inputs]
    weight: Vec<f32>,
    bias: Vec<f32>,
    inputs: usize,
}

#[derive(Clone, Debug)]
struct Map {
    weight: Panels,
    bias: Vec<f32>,
}

impl Expander {
    /// The expansion of `heads` heads of `width` features by `weights`, laid out as in [`Stage`].
    ///
    /// # Panics
    /// If weights do not fit one another.
    pub fn new(
        heads: usize,
        width: usize,
        weights: &Expansion<Stage<&[f32]>>,
        options: ExpansionOptions,
    ) -> Self {
        let (mut expanded_heads, mut kernel_size) = (heads, 1);
        let convolutions = weights.heads.map(|stage| {
            expanded_heads = stage.first_bias.len();
            kernel_size = stage.first_weight.len() / (expanded_heads * heads).max(1);
            [
                Convolution::new(stage.first_weight, stage.first_bias, heads, kernel_size),
                Convolution::new(
                    stage.second_weight,
                    stage.second_bias,
                    expanded_heads,
                    kernel_size,
                ),
            ]
        });
        let mut expanded_width = width;
        let maps = weights.features.map(|stage| {
            expanded_width = stage.first_bias.len();
            let map = |inputs, weight, bias: &[f32]| Map {
                weight: Panels::new(NumberType::F32, expanded_width, inputs, weight),
                bias: bias.to_vec(),
            };
            [
                map(width, stage.first_weight, stage.first_bias),
                map(expanded_width, stage.second_weight, stage.second_bias),
            ]
        });
        Self {
            heads,
            width,
            expanded_heads,
            expanded_width,
            kernel_size,
            convolutions,
            maps,
            options,
        }
    }

    /// Values of a token before the expansion.
    pub fn inputs(&self) -> usize {
        self.heads * self.width
    }

    /// Values of a token after it.
    pub fn outputs(&self) -> usize {
        self.expanded_heads * self.expanded_width
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> usize {
        let convolutions = self.convolutions.iter().flatten();
        let maps = self.maps.iter().flatten();
        convolutions
            .map(|c| 4 * (c.weight.len() + c.bias.len()))
            .sum::<usize>()
            + maps
                .map(|map| map.weight.bytes() + 4 * map.bias.len())
                .sum::<usize>()
    }

    /// Distance between the heads of a padded input: a panel may be read from any tap on.
    fn padded(&self) -> usize {
        self.width.next_multiple_of(PANEL) + self.kernel_size - 1
    }

    fn one(&self, x: &[f32], y: &mut [f32]) {
        let plain = self.width.next_multiple_of(PANEL);
        let wide = self.expanded_width.next_multiple_of(PANEL);
        let heads = self.expanded_heads.max(self.heads);
        let sizes = [
            heads * self.padded(),
            heads * plain,
            heads * wide,
            heads * wide,
        ];
        with_scratch(sizes, |[padded, expanded, active, mapped]| {
            InstructionSet::current().run(OneToken {
                plan: self,
                x,
                y,
                padded,
                expanded,
                active,
                mapped,
            });
        });
    }
}

impl Convolution {
    fn new(weight: &[f32], bias: &[f32], inputs: usize, taps: usize) -> Self {
        assert_eq!(
            weight.len(),
            bias.len() * inputs * taps,
            "weights of a head stage"
        );
        let mut ordered = Vec::with_capacity(weight.len());
        for output in weight.chunks_exact((inputs * taps).max(1)) {
            for tap in 0..taps {
                ordered.extend((0..inputs).map(|input| output[input * taps + tap]));
            }
        }
        Self {
            weight: ordered,
            bias: bias.to_vec(),
            inputs,
        }
    }
}

/// Expands `tokens` tokens by each expander: its `x` [tokens][heads · width] to its `y`
/// [tokens][H' · D'].
///
/// # Panics
/// If a slice is too short.
pub fn expand(tokens: usize, calls: &mut [(&Expander, Rows<'_>, &mut [f32])]) {
    let calls: Vec<(&Expander, Rows<'_>, Shared)> = calls
        .iter_mut()
        .map(|(expander, x, y)| {
            assert_eq!(y.len(), tokens * expander.outputs(), "expanded tokens");
            // SAFETY: only values are stored.
            (
                *expander,
                *x,
                Shared::from_output(unsafe { overwriting(y) }),
            )
        })
        .collect();
    (0..tokens * calls.len())
        .into_par_iter()
        .with_max_len(1)
        .for_each(|task| {
            let (token, (expander, x, y)) = (task / calls.len(), &calls[task % calls.len()]);
            let outputs = expander.outputs();
            let y = y.at(token * outputs, outputs);
            // SAFETY: this token of this output belongs to this task alone.
            let y = unsafe { std::slice::from_raw_parts_mut(y, outputs) };
            expander.one(x.row(token, expander.inputs()), y);
        });
}

struct OneToken<'a> {
    plan: &'a Expander,
    x: &'a [f32],
    y: &'a mut [f32],
    /// [heads][padded]: what a convolution reads.
    padded: &'a mut [f32],
    /// [heads][width in panels]
    expanded: &'a mut [f32],
    /// [heads][D' in panels]: what the second map reads.
    active: &'a mut [f32],
    /// [heads][D' in panels]
    mapped: &'a mut [f32],
}

impl WithSimd for OneToken<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (plan, options) = (self.plan, self.plan.options);
        let stride = plan.width.next_multiple_of(PANEL);
        if let Some([first, second]) = &plan.convolutions {
            self.pad(self.x, plan.heads, plan.width, false);
            self.begin(&first.bias, false);
            self.convolve(simd, first);
            let expanded = std::mem::take(&mut self.expanded);
            self.pad(expanded, plan.expanded_heads, stride, options.relu);
            self.expanded = expanded;
            self.begin(&second.bias, options.residual);
            self.convolve(simd, second);
        } else {
            for (to, from) in self
                .expanded
                .chunks_exact_mut(stride)
                .zip(self.x.chunks_exact(plan.width))
            {
                to[..plan.width].copy_from_slice(from);
            }
        }
        let (heads, width) = (plan.expanded_heads, plan.expanded_width);
        let Some([first, second]) = &plan.maps else {
            copy_heads(self.expanded, stride, self.y, width);
            return;
        };
        let wide = width.next_multiple_of(PANEL);
        let mapped = &mut self.mapped[..heads * wide];
        add_to_heads(mapped, wide, &first.bias, false);
        map(
            simd,
            first,
            heads,
            Rows::dense(self.expanded, stride),
            mapped,
            wide,
        );
        for (active, &x) in self.active.iter_mut().zip(mapped.iter()) {
            *active = if options.relu && x < 0.0 { 0.0 } else { x };
        }
        add_to_heads(mapped, wide, &second.bias, options.residual);
        map(
            simd,
            second,
            heads,
            Rows::dense(self.active, wide),
            mapped,
            wide,
        );
        copy_heads(mapped, wide, self.y, width);
    }
}

/// Adds a bias to every head, or begins with it.
#[inline(always)]
fn add_to_heads(values: &mut [f32], stride: usize, bias: &[f32], keep: bool) {
    for head in values.chunks_exact_mut(stride) {
        let (inner, rest) = head.split_at_mut(bias.len());
        if keep {
            for (value, bias) in inner.iter_mut().zip(bias) {
                *value += bias;
            }
        } else {
            inner.copy_from_slice(bias);
            rest.fill(0.0);
        }
    }
}

#[inline(always)]
fn copy_heads(from: &[f32], stride: usize, to: &mut [f32], width: usize) {
    for (from, to) in from.chunks_exact(stride).zip(to.chunks_exact_mut(width)) {
        to.copy_from_slice(&from[..width]);
    }
}

/// `to` += rows · weightᵀ.
#[inline(always)]
fn map<S: Simd>(simd: S, map: &Map, rows: usize, from: Rows<'_>, to: &mut [f32], stride: usize) {
    let inputs = map.weight.inputs();
    let Numbers::F32(weight) = &map.weight.numbers else {
        unreachable!("an expander keeps its weights in float32")
    };
    assert!(from.values.len() >= (rows - 1) * from.stride + inputs && to.len() == rows * stride);
    let tile = Tile {
        rows,
        left: from.values.as_ptr(),
        left_stride: from.stride,
        right: weight.as_ptr(),
        panels: map.weight.panels(),
        panel_stride: PANEL * inputs,
        steps: Steps::of_panel(inputs),
        target: to.as_mut_ptr(),
        target_stride: stride,
        add: true,
    };
    // SAFETY: rows and room were checked above, and a stride holds whole panels.
    unsafe { tile.run(simd) };
}

impl OneToken<'_> {
    /// Heads between zeros, behind a ReLU if asked; `stride` apart in `from`.
    #[inline(always)]
    fn pad(&mut self, from: &[f32], heads: usize, stride: usize, relu: bool) {
        let plan = self.plan;
        let side = (plan.kernel_size - 1) / 2;
        for head in 0..heads {
            let to = &mut self.padded[head * plan.padded()..][..plan.padded()];
            let (before, inner) = to.split_at_mut(side);
            let (inner, behind) = inner.split_at_mut(plan.width);
            before.fill(0.0);
            behind.fill(0.0);
            for (to, &x) in inner.iter_mut().zip(&from[head * stride..]) {
                *to = if relu && x < 0.0 { 0.0 } else { x };
            }
        }
    }

    /// Begins every expanded head with its bias, or adds it.
    #[inline(always)]
    fn begin(&mut self, bias: &[f32], keep: bool) {
        let stride = self.plan.width.next_multiple_of(PANEL);
        for (head, &bias) in self.expanded.chunks_exact_mut(stride).zip(bias) {
            for value in head {
                *value = if keep { *value + bias } else { bias };
            }
        }
    }

    /// Adds a convolution of the padded heads.
    #[inline(always)]
    fn convolve<S: Simd>(&mut self, simd: S, convolution: &Convolution) {
        let plan = self.plan;
        let (inputs, taps) = (convolution.inputs, plan.kernel_size);
        let stride = plan.width.next_multiple_of(PANEL);
        assert!(self.padded.len() >= inputs * plan.padded());
        assert!(self.expanded.len() >= plan.expanded_heads * stride);
        let tile = Tile {
            rows: plan.expanded_heads,
            left: convolution.weight.as_ptr(),
            left_stride: inputs * taps,
            right: self.padded.as_ptr(),
            panels: stride / PANEL,
            panel_stride: PANEL,
            steps: Steps {
                outer: taps,
                outer_stride: 1,
                inner: inputs,
                inner_stride: plan.padded(),
            },
            target: self.expanded.as_mut_ptr(),
            target_stride: stride,
            add: true,
        };
        // SAFETY: a padded head holds every panel from every tap on; an expanded head holds whole
        // panels.
        unsafe { tile.run(simd) };
    }
}
