//! Maps along the features and their gradients on tensor cores: rows times weights, twice.

mod between;
mod both;
mod form;
mod gradients;
mod weights;

use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use self::form::{FeatureGradientForm, FeaturesForm};
use super::slices::SLICES;
use super::{rounds, suits};
use crate::cube::expansion::{Maps, Turn};
use crate::cube::rows::cubes;
use crate::cube::tensor::{addresses, element, shared_memory, unwritten};
use crate::cube::tensor_cores::lanes::CHUNK;

/// The maps along the features and their gradients, where these kernels serve them.
pub(in crate::cube::expansion) struct FeaturesMma<'a> {
    maps: &'a Maps,
    forward: FeaturesForm,
    backward: FeaturesForm,
    /// Of the first map and of the second.
    gradients: [FeatureGradientForm; 2],
}

impl<'a> FeaturesMma<'a> {
    /// For inputs like `x`; `None` where another kernel has to take them.
    pub fn of(maps: &'a Maps, x: &CubeTensor) -> Option<Self> {
        if !suits(x) {
            return None;
        }
        let memory = shared_memory(&x.client);
        let options = maps.options;
        let both = |forward| {
            let form = FeaturesForm::of(&maps.sizes, forward, memory)?;
            Some(FeaturesForm {
                relu: options.relu,
                residual: options.residual,
                ..form
            })
        };
        let (inputs, outputs) = (maps.sizes.inputs, maps.sizes.outputs);
        Some(Self {
            maps,
            forward: both(true)?,
            backward: both(false)?,
            gradients: [
                FeatureGradientForm::of([inputs, outputs], false, memory)?,
                FeatureGradientForm::of([outputs, outputs], options.relu, memory)?,
            ],
        })
    }

    /// The second map's result [M, A] of `x` [M, C], rotated if there is a rotation that these
    /// kernels have, and the first one's where `keep` asks for it; and whether it is rotated.
    pub fn apply(&self, x: &CubeTensor, keep: bool, turn: Option<&Turn>) -> FeaturesApplied {
        let turn = turn.filter(|turn| self.forward.rotates(turn.rotation.half));
        let form = FeaturesForm {
            keep,
            half: turn.map_or(0, |turn| turn.rotation.half),
            heads: turn.map_or(1, |turn| turn.shape[2]),
            ..self.forward
        };
        let (second, between) = self.launch(form, x, None, turn);
        FeaturesApplied {
            first: keep.then_some(between),
            second,
            turned: turn.is_some(),
        }
    }

    /// The gradient of `x` from that of the second map's result before its rotation, `first` being
    /// what [`Self::apply`] kept; the weights' gradients go into their place in `gradients`.
    pub fn gradient(
        &self,
        x: &CubeTensor,
        first: &CubeTensor,
        dy: &CubeTensor,
        gradients: &CubeTensor,
    ) -> CubeTensor {
        let form = FeaturesForm {
            keep: true,
            ..self.backward
        };
        let (dx, of_first) = self.launch(form, dy, Some(first), None);
        let at = self.maps.places;
        let [of_map, of_second] = self.gradients;
        weight_gradient(of_map, x, &of_first, gradients, at.first_weight);
        weight_gradient(of_second, first, dy, gradients, at.second_weight);
        dx
    }

    /// The result [M, E, 1] and what is between the maps, or a chunk where that is not kept.
    fn launch(
        &self,
        form: FeaturesForm,
        x: &CubeTensor,
        gate: Option<&CubeTensor>,
        turn: Option<&Turn>,
    ) -> (CubeTensor, CubeTensor) {
        let at = self.maps.places;
        let rows = x.meta.num_elements() / form.inputs;
        let y = unwritten(x, [rows, form.outputs, 1], x.dtype);
        let between = match form.keep {
            true => unwritten(x, [rows, form.middle, 1], x.dtype),
            false => unwritten(x, [CHUNK], x.dtype),
        };
        if rows == 0 {
            return (y, between);
        }
        let weights = match form.forward {
            true => [at.first_weight, at.second_weight],
            false => [at.second_weight, at.first_weight],
        };
        let first = self.packed([form.middle, form.inputs], weights[0], form.forward, x);
        let second = self.packed([form.outputs, form.middle], weights[1], form.forward, x);
        let shares = rows.div_ceil(form.rows());
        let rounds = rounds(shares);
        // Without a rotation, the weights stand in its table's place, unread.
        let (table, begin, tokens) = match turn {
            Some(turn) => (&turn.rotation.table, turn.rotation.first, turn.shape[1]),
            None => (&self.maps.weights, 0, 1),
        };
        both::both_features_mma::launch(
            &x.client,
            cubes(shares.div_ceil(rounds)),
            CubeDim::new_1d(form.threads() as u32),
            addresses(&[x, &y, &between, &self.maps.weights, table]),
            x.clone().into_tensor_arg(),
            first.into_tensor_arg(),
            second.into_tensor_arg(),
            self.maps.weights.clone().into_tensor_arg(),
            // Without a gate, the input takes its place, unread.
            gate.unwrap_or(x).clone().into_tensor_arg(),
            table.clone().into_tensor_arg(),
            between.clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            at.first_bias as u32,
            at.second_bias as u32,
            begin as u32,
            tokens as u32,
            rounds as u32,
            form,
            [element(x), element(table)],
        );
        (y, between)
    }

    /// The weights of one map, [rows, terms], as the kernel reads them.
    fn packed(
        &self,
        [rows, terms]: [usize; 2],
        first_weight: usize,
        forward: bool,
        like: &CubeTensor,
    ) -> CubeTensor {
        let packed = unwritten(like, [rows, terms], like.dtype);
        let count = CubeDim::new_1d(256);
        weights::pack_rows::launch(
            &like.client,
            calculate_cube_count_elemwise(&like.client, rows * terms, count),
            count,
            addresses(&[&packed, &self.maps.weights]),
            self.maps.weights.clone().into_tensor_arg(),
            packed.clone().into_tensor_arg(),
            first_weight as u32,
            terms,
            !forward,
            element(like),
        );
        packed
    }
}

/// Results of two maps along the features.
pub(in crate::cube::expansion) struct FeaturesApplied {
    /// The first one's, where it is kept.
    pub first: Option<CubeTensor>,
    /// The second one's.
    pub second: CubeTensor,
    /// Whether that is rotated.
    pub turned: bool,
}

/// Writes the gradients of a map's weight and bias from place `place` on in `gradients`.
fn weight_gradient(
    form: FeatureGradientForm,
    x: &CubeTensor,
    dy: &CubeTensor,
    gradients: &CubeTensor,
    place: usize,
) {
    let rows = x.meta.num_elements() / form.inputs;
    let shares = rows.div_ceil(FeatureGradientForm::ROWS).max(1);
    let rounds = shares.div_ceil(SLICES);
    let slices = shares.div_ceil(rounds);
    let sums = form.slice().room(slices, x);
    gradients::features_weight_gradient_mma::launch(
        &x.client,
        CubeCount::Static(slices as u32, 1, 1),
        CubeDim::new_1d(form.threads() as u32),
        addresses(&[x, dy, &sums]),
        x.clone().into_tensor_arg(),
        dy.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        rows as u32,
        rounds as u32,
        form,
        element(x),
    );
    form.slice().add(sums, gradients, place);
}
