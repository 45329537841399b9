//! Weights as safetensors: PyTorch's layout, the names of [`crate::named`].

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Device, Tensor, TensorData},
};
use safetensors::{Dtype, SafeTensors, View};
use thiserror::Error;

use crate::{
    config::{ModelConfig, ModelConfigError},
    cost::Cost,
    decoder::Decoder,
    finite::{self, NotFinite},
    named,
};

/// Weights that could not be written or do not belong to the model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not a safetensors file, or a damaged one.
    #[error(
        "{}: not a complete safetensors file ({why}): copy or download it again",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        why: String,
    },
    /// A tensor that the configuration asks for is not there.
    #[error("{}: tensor `{name}` is missing: the weights belong to another configuration", path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
    },
    /// A tensor that the configuration knows nothing of.
    #[error("{}: tensor `{name}` is not part of this model: the weights belong to another configuration", path.display())]
    Unexpected {
        /// Which file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
    },
    /// A tensor of another shape.
    #[error("{}: tensor `{name}` has shape {found:?}, the configuration says {expected:?}", path.display())]
    Shape {
        /// Which file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// As in the file.
        found: Vec<usize>,
        /// As configured.
        expected: Vec<usize>,
    },
    /// A tensor of a type this reader does not take.
    #[error("{}: tensor `{name}` has type {found}: only F32 is read", path.display())]
    Type {
        /// Which file.
        path: PathBuf,
        /// The tensor's name.
        name: String,
        /// As in the file.
        found: String,
    },
    /// A tensor of a file holds NaN or infinity.
    #[error("{}: {source}: the weights are damaged, or training failed", path.display())]
    NotFinite {
        /// Which file.
        path: PathBuf,
        /// The tensor.
        source: NotFinite,
    },
    /// A tensor of a model that is to be written holds NaN or infinity.
    #[error("{0}: such a model is not saved")]
    Broken(NotFinite),
    /// The configuration describes far more weights than the file holds.
    #[error("{}: the configuration describes {described} weights, the file holds {held}: they belong to another configuration", path.display())]
    Size {
        /// Which file.
        path: PathBuf,
        /// By the configuration.
        described: u64,
        /// In the file.
        held: u64,
    },
    /// The configuration beside the weights describes no model.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
}

/// Writes a model's weights as float32, with `metadata` as one JSON object in the header's entry
/// `simattn`. Equal models and metadata give equal files.
///
/// # Errors
/// [`CheckpointError::Broken`] for the first tensor that is not finite, with nothing written. Else
/// if the file cannot be written; what is there then is not a checkpoint. Callers that must
/// not leave a half-written file write elsewhere and rename.
pub fn save(
    model: &Decoder,
    path: &Path,
    metadata: &BTreeMap<String, String>,
) -> Result<(), CheckpointError> {
    let tensors = tensors(model);
    for tensor in &tensors {
        finite::check(&tensor.name, &tensor.values).map_err(CheckpointError::Broken)?;
    }
    write(path, &tensors, metadata).map_err(|source| CheckpointError::Io {
        path: path.into(),
        source,
    })
}

/// Writes tensors as float32 with `metadata` as [`save`] does.
///
/// # Errors
/// What the system said where the file cannot be written.
pub fn write(
    path: &Path,
    tensors: &[NamedTensor],
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    // One entry: several would stand in the random order of a hash map, and equal models in
    // different files.
    let entry = serde_json::to_string(metadata).map_err(io::Error::other)?;
    let header = HashMap::from([("simattn".to_owned(), entry)]);
    let views = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor));
    let bytes = safetensors::serialize(views, Some(header)).map_err(io::Error::other)?;
    fs::write(path, bytes)
}

/// A tensor as plain numbers on the host, with its name.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// As [`named`] has it.
    pub name: String,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its elements as float32, the last axis first.
    pub values: Vec<f32>,
}

impl View for &NamedTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.values.iter().flat_map(|value| value.to_le_bytes());
        Cow::Owned(bytes.collect())
    }

    fn data_len(&self) -> usize {
        4 * self.values.len()
    }
}

/// All tensors of a module, a [`Decoder`] for one, in the order of its fields.
pub fn tensors<M: Module>(model: &M) -> Vec<NamedTensor> {
    struct Collect {
        path: named::Path,
        found: Vec<NamedTensor>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, container_type: &str) {
            self.path.exit(container_type);
        }
        fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
            let data = param.val().into_data_dtype(DType::F32);
            self.found.push(NamedTensor {
                name: self.path.name(),
                shape: data.shape().to_vec(),
                values: data.iter::<f32>().collect(),
            });
        }
    }
    let mut collect = Collect {
        path: named::Path::default(),
        found: Vec::new(),
    };
    model.visit(&mut collect);
    collect.found
}

/// `model` with the tensors that `values` gives by name in place of its own. Every vector must
/// have the length of its tensor.
pub(crate) fn filled(model: Decoder, values: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Decoder {
    model.map(&mut Fill {
        path: named::Path::default(),
        values,
    })
}

/// Builds the model of `config` and fills it with the weights in `path`, whatever their values: a
/// run continues from the bits that it saved.
///
/// # Errors
/// If the file cannot be read, is damaged, or holds other tensors than the configuration asks
/// for; the first such tensor is named.
pub fn load(
    config: &ModelConfig,
    path: &Path,
    device: &Device,
) -> Result<Decoder, CheckpointError> {
    load_checked(config, path, device, |_, _| Ok(()))
}

/// The same for a model that is to be used: every weight must be finite.
///
/// # Errors
/// As [`load`], and [`CheckpointError::NotFinite`] for the first tensor that is not.
pub fn load_finite(
    config: &ModelConfig,
    path: &Path,
    device: &Device,
) -> Result<Decoder, CheckpointError> {
    load_checked(config, path, device, |name, values| {
        finite::check(name, values).map_err(|source| CheckpointError::NotFinite {
            path: path.into(),
            source,
        })
    })
}

fn load_checked(
    config: &ModelConfig,
    path: &Path,
    device: &Device,
    check_values: impl Fn(&str, &[f32]) -> Result<(), CheckpointError>,
) -> Result<Decoder, CheckpointError> {
    let bytes = fs::read(path).map_err(|source| CheckpointError::Io {
        path: path.into(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|why| CheckpointError::Damaged {
        path: path.into(),
        why: why.to_string(),
    })?;
    check_size(config, &file, path)?;
    let model = Decoder::blank(config, device)?;
    let expected = named::parameters(&model);
    for parameter in &expected {
        check(&file, path, parameter)?;
    }
    let extra = file
        .names()
        .into_iter()
        .filter(|name| !expected.iter().any(|p| p.name == *name))
        .min();
    if let Some(name) = extra {
        return Err(CheckpointError::Unexpected {
            path: path.into(),
            name: name.to_string(),
        });
    }
    let mut failed = None;
    let model = filled(model, &mut |name| {
        if failed.is_some() {
            return None;
        }
        let bytes = file.tensor(name).ok()?.data().chunks_exact(4);
        let values: Vec<f32> = bytes
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let checked = check_values(name, &values);
        checked.map_err(|error| failed = Some(error)).ok()?;
        Some(values)
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(model),
    }
}

/// Refuses a configuration that is far from the file, before a model of its size is made. Smaller
/// differences are left to the comparison by names, which says more.
fn check_size(
    config: &ModelConfig,
    file: &SafeTensors<'_>,
    path: &Path,
) -> Result<(), CheckpointError> {
    const NEAR: u128 = 1 << 24;
    let described = Cost::of(config).parameters.total;
    let held = file
        .iter()
        .map(|(_, tensor)| tensor.shape().iter().map(|&n| n as u128).product::<u128>());
    let held: u128 = held.sum();
    if described > 4 * held + NEAR {
        return Err(CheckpointError::Size {
            path: path.into(),
            described: u64::try_from(described).unwrap_or(u64::MAX),
            held: u64::try_from(held).unwrap_or(u64::MAX),
        });
    }
    Ok(())
}

/// Whether a parameter's tensor is there with its shape and type.
fn check(
    file: &SafeTensors<'_>,
    path: &Path,
    parameter: &named::NamedParameter,
) -> Result<(), CheckpointError> {
    let name = parameter.name.clone();
    let Ok(tensor) = file.tensor(&name) else {
        return Err(CheckpointError::Missing {
            path: path.into(),
            name,
        });
    };
    if tensor.shape() != parameter.shape {
        return Err(CheckpointError::Shape {
            path: path.into(),
            name,
            found: tensor.shape().to_vec(),
            expected: parameter.shape.clone(),
        });
    }
    if tensor.dtype() != Dtype::F32 {
        return Err(CheckpointError::Type {
            path: path.into(),
            name,
            found: format!("{:?}", tensor.dtype()),
        });
    }
    Ok(())
}

/// Puts given tensors in place of a model's.
struct Fill<'a> {
    path: named::Path,
    values: &'a mut dyn FnMut(&str) -> Option<Vec<f32>>,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }
    fn exit_module(&mut self, _: &str, container_type: &str) {
        self.path.exit(container_type);
    }
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        let Some(values) = (self.values)(&self.path.name()) else {
            return param;
        };
        let device = param.val().device();
        let data = TensorData::new(values, param.lazy_shape().to_vec());
        let replacement: Tensor<R> = Tensor::from_data(data, &device);
        Param::from_tensor(replacement)
    }
}
