//! The expansions of simulated attention on CubeCL devices.
//!
//! Two maps in a row are one kernel on tensor cores (`mma`), forward and for the gradient of their
//! input, and one with other matrix units (`units`), forward. In the plain form (`stage`, `gradient`)
//! each of the up to four maps of an expansion is one launch, with its ReLU, residual and bias. Of
//! an expanded tensor [N, H', D'] the two maps along the features write it twice and read it three
//! times (the second one's input and its residual are the same values, read at two places), the two
//! along the heads do the same at width D; backward expands again, and per map reads the gradient
//! twice and its input once more. What a cube multiplies stays in shared memory.

mod gradient;
mod mma;
mod stage;
mod units;

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use self::mma::{FeaturesMma, HeadsMma};
use self::stage::Stage;
use super::rotary::Rotation;
use super::rows::slices;
use super::tensor::{addresses, element, reshaped, shared_memory, unwritten};
use super::tile::{SIDE, tile_for};
use crate::call::{ExpansionOptions, Stage as Pair};

/// Sizes of two maps in a row, C → A → A channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapSizes {
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the outputs.
    pub outputs: usize,
    /// Values of a channel in one row.
    pub positions: usize,
    /// Width of the window over the positions.
    pub taps: usize,
}

/// A rotation behind two maps.
pub(crate) struct Turn {
    pub rotation: Rotation,
    /// The result as the rotation sees it: batch, tokens, heads, width.
    pub shape: [usize; 4],
}

/// Results of two maps in a row.
pub(crate) struct Applied {
    /// The first one's, where it is kept, as [`Maps::gradient`] reads it.
    pub first: Option<CubeTensor>,
    /// The second one's.
    pub second: CubeTensor,
}

/// `x` rotated, if there is a rotation.
fn turned(x: CubeTensor, turn: Option<&Turn>) -> CubeTensor {
    match turn {
        Some(turn) => turn.rotation.apply(&reshaped(x, turn.shape)),
        None => x,
    }
}

/// Two maps in a row: `E1 = map(x)`, then `E1 + map(relu(E1))`, as the options say: the head
/// expansion or the feature expansion of the definitions.
#[derive(Clone, Debug)]
pub(crate) struct Maps {
    pub sizes: MapSizes,
    pub options: ExpansionOptions,
    /// All packed weights.
    pub weights: CubeTensor,
    /// Where those of these maps begin.
    pub places: Pair<usize>,
}

impl Maps {
    fn stage(&self, like: &CubeTensor) -> Stage {
        Stage {
            inputs: self.sizes.inputs,
            outputs: self.sizes.outputs,
            positions: self.sizes.positions,
            taps: self.sizes.taps,
            transposed: false,
            relu: false,
            bias: true,
            gated: false,
            residual: false,
            tile: tile_for(shared_memory(&like.client)),
        }
    }

    fn second_stage(&self, like: &CubeTensor) -> Stage {
        Stage {
            inputs: self.sizes.outputs,
            relu: self.options.relu,
            residual: self.options.residual,
            ..self.stage(like)
        }
    }

    /// Values of one input row.
    fn row(&self) -> usize {
        self.sizes.inputs * self.sizes.positions
    }

    fn launch(
        &self,
        stage: Stage,
        x: &CubeTensor,
        gate: Option<&CubeTensor>,
        [first_weight, first_bias]: [usize; 2],
    ) -> CubeTensor {
        let rows = x.meta.num_elements() / (stage.inputs * stage.positions);
        let y = unwritten(x, [rows, stage.outputs, stage.positions], x.dtype);
        let tiles = (rows * stage.positions).div_ceil(stage.tile);
        if tiles == 0 || units::apply(self, stage, x, gate, &y, [first_weight, first_bias]) {
            return y;
        }
        // Some devices count to 65,535 along an axis.
        let along = tiles.min(32_768);
        stage::expansion_stage::launch(
            &x.client,
            CubeCount::Static(
                along as u32,
                stage.outputs.div_ceil(stage.tile) as u32,
                tiles.div_ceil(along) as u32,
            ),
            CubeDim::new_2d(SIDE as u32, SIDE as u32),
            addresses(&[x, &y, &self.weights]),
            x.clone().into_tensor_arg(),
            self.weights.clone().into_tensor_arg(),
            gate.unwrap_or(x).clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            first_weight as u32,
            first_bias as u32,
            stage,
            element(x),
        );
        y
    }

    /// The second map's result [N, A, P] of contiguous `x` [N, C, P], rotated if there is a
    /// rotation, and the first one's where `keep` asks for it.
    pub fn apply(&self, x: &CubeTensor, keep: bool, turn: Option<&Turn>) -> Applied {
        if let Some(heads) = HeadsMma::of(self, x) {
            let (second, first) = heads.apply(x, keep);
            return Applied { first, second };
        }
        if let Some(features) = FeaturesMma::of(self, x) {
            let applied = features.apply(x, keep, turn);
            let turn = turn.filter(|_| !applied.turned);
            return Applied {
                first: applied.first,
                second: turned(applied.second, turn),
            };
        }
        if let Some(applied) = units::apply_both(self, x, keep, turn) {
            return applied;
        }
        let at = self.places;
        let first = self.launch(self.stage(x), x, None, [at.first_weight, at.first_bias]);
        let second = self.launch(
            self.second_stage(x),
            &first,
            None,
            [at.second_weight, at.second_bias],
        );
        Applied {
            first: keep.then_some(first),
            second: turned(second, turn),
        }
    }

    /// The gradient of `x` from that of the second map's result, `first` being the first one's; the
    /// weights' gradients go into their place in `gradients`.
    pub fn gradient(
        &self,
        x: &CubeTensor,
        first: &CubeTensor,
        dy: &CubeTensor,
        gradients: &CubeTensor,
    ) -> CubeTensor {
        if let Some(heads) = HeadsMma::of(self, x) {
            return heads.gradient(x, first, dy, gradients);
        }
        if let Some(features) = FeaturesMma::of(self, x) {
            return features.gradient(x, first, dy, gradients);
        }
        let (sizes, at) = (self.sizes, self.places);
        let (stage, second) = (self.stage(x), self.second_stage(x));
        self.weight_gradient(second, first, dy, gradients, at.second_weight);
        let back = Stage {
            transposed: true,
            relu: false,
            bias: false,
            gated: second.relu,
            ..second
        };
        // Where there is no bias, its place is not read.
        let unread = at.first_weight;
        let of_first = self.launch(back, dy, Some(first), [at.second_weight, unread]);
        self.weight_gradient(stage, x, &of_first, gradients, at.first_weight);
        let back = Stage {
            inputs: sizes.outputs,
            outputs: sizes.inputs,
            transposed: true,
            bias: false,
            ..stage
        };
        self.launch(back, &of_first, None, [at.first_weight, unread])
    }

    fn weight_gradient(
        &self,
        stage: Stage,
        x: &CubeTensor,
        dy: &CubeTensor,
        gradients: &CubeTensor,
        place: usize,
    ) {
        let rows = dy.meta.num_elements() / stage.outputs;
        if units::weight_gradient(stage, x, dy, gradients, place) {
            return;
        }
        let slices = slices(rows);
        let places = stage.depth();
        let partial = unwritten(x, [slices, stage.outputs, places + 1], DType::F32);
        gradient::expansion_weight_gradient::launch(
            &x.client,
            CubeCount::Static(
                (places + 1).div_ceil(stage.tile) as u32,
                stage.outputs.div_ceil(stage.tile) as u32,
                slices as u32,
            ),
            CubeDim::new_2d(SIDE as u32, SIDE as u32),
            addresses(&[x, dy, &partial]),
            x.clone().into_tensor_arg(),
            dy.clone().into_tensor_arg(),
            partial.clone().into_tensor_arg(),
            rows.div_ceil(slices) as u32,
            stage,
            element(x),
        );
        let count = CubeDim::new_1d((SIDE * SIDE) as u32);
        gradient::sum_weight_slices::launch(
            &x.client,
            calculate_cube_count_elemwise(&x.client, stage.outputs * (places + 1), count),
            count,
            addresses(&[&partial, gradients]),
            partial.into_tensor_arg(),
            gradients.clone().into_tensor_arg(),
            place as u32,
            stage.outputs,
            places,
            element(gradients),
        );
    }

    /// `x` as rows of this map.
    pub fn rows(&self, x: &CubeTensor) -> CubeTensor {
        let row = self.row();
        reshaped(
            x.clone(),
            [
                x.meta.num_elements() / row,
                self.sizes.inputs,
                self.sizes.positions,
            ],
        )
    }
}
