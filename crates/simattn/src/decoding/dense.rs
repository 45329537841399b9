//! Weights out of a decoder, in the order in which decoding reads them.

use burn::{module::Param, tensor::Tensor};
use simattn_kernels::call::NumberType;
use simattn_kernels::cpu::decoding::{self, Panels, Rows};

use crate::{decoder::Normalisation, linear::Linear};

/// The values of a parameter as float32, whatever its device and type.
pub(super) fn values<const R: usize>(tensor: Tensor<R>) -> Vec<f32> {
    let data = tensor.into_data();
    match data.as_slice::<f32>() {
        Ok(values) => values.to_vec(),
        Err(_) => data.iter::<f32>().collect(),
    }
}

/// One dense layer, or several of the same input as one.
#[derive(Clone, Debug)]
pub(super) struct Dense {
    weight: Panels,
    bias: Option<Vec<f32>>,
}

impl Dense {
    /// The outputs of `layers` one behind the other.
    pub(super) fn stacked(number_type: NumberType, layers: &[&Linear]) -> Self {
        let (mut weight, mut bias, mut outputs, mut inputs) = (Vec::new(), Vec::new(), 0, 0);
        let biased = layers.iter().any(|layer| layer.bias.is_some());
        for layer in layers {
            let (of_layer, its_bias) = layer.values();
            let [its_outputs, its_inputs] = of_layer.dims();
            weight.extend(values(of_layer));
            match its_bias {
                Some(its_bias) => bias.extend(values(its_bias)),
                None => bias.resize(bias.len() + its_outputs, 0.0),
            }
            outputs += its_outputs;
            inputs = its_inputs;
        }
        Self {
            weight: Panels::new(number_type, outputs, inputs, &weight),
            bias: biased.then_some(bias),
        }
    }

    /// One layer.
    pub(super) fn new(number_type: NumberType, layer: &Linear) -> Self {
        Self::stacked(number_type, &[layer])
    }

    /// Features that come out.
    pub(super) fn outputs(&self) -> usize {
        self.weight.outputs()
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        self.weight.bytes() + self.bias.as_ref().map_or(0, |bias| 4 * bias.len())
    }

    /// `x` [rows, inputs] → [rows, outputs].
    pub(super) fn of(&self, rows: usize, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; rows * self.outputs()];
        self.apply(rows, x, &mut y, false);
        y
    }

    /// The same added to `y`.
    pub(super) fn add(&self, rows: usize, x: &[f32], y: &mut [f32]) {
        self.apply(rows, x, y, true);
    }

    fn apply(&self, rows: usize, x: &[f32], y: &mut [f32], add: bool) {
        let x = Rows::dense(x, self.weight.inputs());
        let (bias, outputs) = (self.bias.as_deref(), self.outputs());
        decoding::product(&self.weight, rows, x, bias, y, outputs, add);
    }
}

/// A norm's weights.
#[derive(Clone, Debug)]
pub(super) struct Norm {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    epsilon: f64,
}

impl Norm {
    /// RMSNorm.
    pub(super) fn rms(weight: &Param<Tensor<1>>, epsilon: f64) -> Self {
        Self {
            weight: values(weight.val()),
            bias: None,
            epsilon,
        }
    }

    /// Either norm of a decoder.
    pub(super) fn of_layer(norm: &Normalisation, epsilon: f64) -> Self {
        Self {
            bias: norm.bias.as_ref().map(|bias| values(bias.val())),
            ..Self::rms(&norm.weight, epsilon)
        }
    }

    /// Every row of the weight's length, normalised.
    pub(super) fn of(&self, x: &[f32]) -> Vec<f32> {
        let mut y = vec![0.0; x.len()];
        match &self.bias {
            Some(bias) => decoding::layer_norm(self.epsilon, x, &self.weight, bias, &mut y),
            None => decoding::rms_norm(self.epsilon, x, &self.weight, &mut y),
        }
        y
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        4 * (self.weight.len() + self.bias.as_ref().map_or(0, Vec::len))
    }
}
