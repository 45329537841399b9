//! Maps along the heads and their gradients on NVIDIA's tensor cores, where sizes suit them.
//!
//! A convolution over the positions becomes a product without a copy for every tap: positions stand
//! in shared memory with their channels side by side, so that a window's terms lie end to end
//! ([`Windows`](layout::Windows)). What is between two maps is kept as [N, P, A], as a thread has it
//! in registers, and as backward reads it.

mod between;
mod both;
mod form;
mod gradients;
mod layout;
mod weights;
mod windows;

use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use self::form::{BothForm, GradientForm, Weights};
use super::slices::SLICES;
use super::{rounds, suits};
use crate::cube::expansion::Maps;
use crate::cube::rows::cubes;
use crate::cube::tensor::{addresses, element, shared_memory, unwritten};
use crate::cube::tensor_cores::lanes::CHUNK;

/// The maps along the heads and their gradients, where these kernels serve them.
pub(in crate::cube::expansion) struct HeadsMma<'a> {
    maps: &'a Maps,
    forward: BothForm,
    backward: BothForm,
    /// Of the first map and of the second.
    gradients: [GradientForm; 2],
}

impl<'a> HeadsMma<'a> {
    /// For inputs like `x`; `None` where another kernel has to take them.
    pub fn of(maps: &'a Maps, x: &CubeTensor) -> Option<Self> {
        if !suits(x) {
            return None;
        }
        let memory = shared_memory(&x.client);
        let options = maps.options;
        let with = |form: BothForm| BothForm {
            relu: options.relu,
            residual: options.residual,
            ..form
        };
        let both = |forward| BothForm::of(&maps.sizes, forward, memory).map(with);
        let gradient = |first| {
            let form = GradientForm::of(&maps.sizes, first, memory)?;
            let relu = options.relu && !first;
            Some(GradientForm { relu, ..form })
        };
        Some(Self {
            maps,
            forward: both(true)?,
            backward: both(false)?,
            gradients: [gradient(true)?, gradient(false)?],
        })
    }

    /// The second map's result [N, A, P] of `x` [N, C, P], and the first one's, [N, P, A] with A
    /// padded, where `keep` asks for it.
    pub fn apply(&self, x: &CubeTensor, keep: bool) -> (CubeTensor, Option<CubeTensor>) {
        let form = BothForm {
            keep,
            ..self.forward
        };
        let (y, between) = self.launch(form, x, None);
        (y, keep.then_some(between))
    }

    /// The gradient of `x` from that of the second map's result, `first` being what [`Self::apply`]
    /// kept; the weights' gradients go into their place in `gradients`.
    pub fn gradient(
        &self,
        x: &CubeTensor,
        first: &CubeTensor,
        dy: &CubeTensor,
        gradients: &CubeTensor,
    ) -> CubeTensor {
        let form = BothForm {
            keep: true,
            ..self.backward
        };
        let (dx, of_first) = self.launch(form, dy, Some(first));
        let at = self.maps.places;
        let [of_map, of_second] = self.gradients;
        weight_gradient(of_map, x, &of_first, gradients, at.first_weight);
        weight_gradient(of_second, first, dy, gradients, at.second_weight);
        dx
    }

    /// The result and what is between the maps, or one value where that is not kept.
    fn launch(
        &self,
        form: BothForm,
        x: &CubeTensor,
        gate: Option<&CubeTensor>,
    ) -> (CubeTensor, CubeTensor) {
        let at = self.maps.places;
        let positions = self.maps.sizes.positions;
        let rows = x.meta.num_elements() / (form.first.windows.channels * positions);
        let y = unwritten(x, [rows, form.second.outputs, positions], x.dtype);
        let between = match form.keep {
            true => unwritten(x, [rows, positions, form.between()], x.dtype),
            false => unwritten(x, [CHUNK], x.dtype),
        };
        if rows == 0 {
            return (y, between);
        }
        let weights = match form.forward {
            true => [at.first_weight, at.second_weight],
            false => [at.second_weight, at.first_weight],
        };
        let [first, second] = [(form.first, weights[0]), (form.second, weights[1])]
            .map(|(map, place)| self.packed(map, place, x));
        let groups = rows.div_ceil(form.tokens());
        let rounds = rounds(groups);
        both::both_maps_mma::launch(
            &x.client,
            cubes(groups.div_ceil(rounds)),
            CubeDim::new_1d(form.threads() as u32),
            addresses(&[x, &y, &between, &self.maps.weights]),
            x.clone().into_tensor_arg(),
            first.into_tensor_arg(),
            second.into_tensor_arg(),
            self.maps.weights.clone().into_tensor_arg(),
            // Without a gate, the input takes its place, unread.
            gate.unwrap_or(x).clone().into_tensor_arg(),
            between.clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            at.first_bias as u32,
            at.second_bias as u32,
            rounds as u32,
            form,
            element(x),
        );
        (y, between)
    }

    /// The weights of one map as the kernel reads them.
    fn packed(&self, map: Weights, first_weight: usize, like: &CubeTensor) -> CubeTensor {
        let packed = unwritten(like, [map.chunks() * CHUNK], like.dtype);
        let count = CubeDim::new_1d(256);
        weights::pack_windows::launch(
            &like.client,
            calculate_cube_count_elemwise(&like.client, map.chunks() * CHUNK, count),
            count,
            addresses(&[&packed, &self.maps.weights]),
            self.maps.weights.clone().into_tensor_arg(),
            packed.clone().into_tensor_arg(),
            first_weight as u32,
            map,
            element(like),
        );
        packed
    }
}

/// Writes the gradients of a map's weight and bias from place `place` on in `gradients`.
fn weight_gradient(
    form: GradientForm,
    x: &CubeTensor,
    dy: &CubeTensor,
    gradients: &CubeTensor,
    place: usize,
) {
    let of_token = match form.first {
        true => form.windows.channels * form.windows.positions,
        false => form.outputs * form.windows.positions,
    };
    let tokens = if form.first { x } else { dy }.meta.num_elements() / of_token;
    let groups = tokens.div_ceil(form.windows.tokens).max(1);
    let rounds = groups.div_ceil(SLICES);
    let slices = groups.div_ceil(rounds);
    let sums = form.slice().room(slices, x);
    gradients::heads_weight_gradient_mma::launch(
        &x.client,
        CubeCount::Static(slices as u32, 1, 1),
        CubeDim::new_1d(form.threads() as u32),
        addresses(&[x, dy, &sums]),
        x.clone().into_tensor_arg(),
        dy.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        tokens as u32,
        rounds as u32,
        form,
        element(x),
    );
    form.slice().add(sums, gradients, place);
}
