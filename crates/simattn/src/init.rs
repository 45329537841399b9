use burn::{
    module::Param,
    tensor::{DType, Device, Tensor, TensorData},
};
use simattn_random::stream;

use crate::config::{Init, ModelConfig};

/// Draws a model's weights: every tensor from a random stream of its own, named by its path, so
/// that two models that share a part (the embedding, an MLP) start with the same numbers in it.
#[derive(Clone, Debug)]
pub struct Initialiser {
    seed: u64,
    device: Device,
    dtype: DType,
    path: String,
    scheme: Init,
    width: usize,
    layers: usize,
    blank: bool,
}

/// How one tensor is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Draw {
    /// Every element this value.
    Constant(f64),
    /// Normal with mean 0 and this standard deviation.
    Normal(f64),
    /// Uniform in ± this bound.
    Uniform(f64),
}

impl Initialiser {
    /// For a model of this configuration, float32, on `device`.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Self {
        Self {
            seed,
            device: device.clone(),
            dtype: DType::F32,
            path: "model".into(),
            scheme: config.init,
            width: config.width,
            layers: config.layers,
            blank: false,
        }
    }

    /// The same with zeros for every weight: for a model that is filled from a file at once.
    pub fn blank(mut self) -> Self {
        self.blank = true;
        self
    }

    /// The same with weights of another float type.
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// For the part called `name` inside this one.
    pub fn at(&self, name: &str) -> Self {
        Self {
            path: format!("{}.{name}", self.path),
            ..self.clone()
        }
    }

    /// The draw of a dense weight that does not write into the residual stream.
    pub fn inner(&self) -> Draw {
        Draw::Normal(match self.scheme {
            Init::Small => (2.0 / (5.0 * self.width as f64)).sqrt(),
            Init::ZeroOutput => 0.02,
        })
    }

    /// The draw of a dense weight whose output is added to the residual stream.
    pub fn residual(&self) -> Draw {
        match self.scheme {
            Init::Small => Draw::Normal(2.0 / (self.layers as f64 * (self.width as f64).sqrt())),
            Init::ZeroOutput => Draw::Constant(0.0),
        }
    }

    /// A parameter called `name` in this part.
    pub fn parameter<const R: usize>(
        &self,
        name: &str,
        shape: [usize; R],
        draw: Draw,
    ) -> Param<Tensor<R>> {
        if self.blank {
            return Param::from_tensor(Tensor::zeros(shape, (&self.device, self.dtype)));
        }
        let count = shape.iter().product();
        let values: Vec<f64> = match draw {
            Draw::Constant(value) => vec![value; count],
            Draw::Normal(sigma) => {
                let mut chance = stream(self.seed, &format!("{}.{name}", self.path));
                (0..count).map(|_| sigma * chance.normal()).collect()
            }
            Draw::Uniform(bound) => {
                let mut chance = stream(self.seed, &format!("{}.{name}", self.path));
                (0..count)
                    .map(|_| bound * (2.0 * chance.uniform() - 1.0))
                    .collect()
            }
        };
        // float32 numbers in memory that was taken for them: the optimiser can then work in it,
        // without a copy.
        let data = match self.dtype {
            DType::F32 => {
                let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                TensorData::new(values, shape)
            }
            _ => TensorData::new(values, shape),
        };
        Param::from_tensor(Tensor::from_data(data, (&self.device, self.dtype)))
    }
}
