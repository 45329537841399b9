//! Named float32 tensors read from a safetensors file; [`simattn::checkpoint::write`] writes them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors};
use simattn::checkpoint::NamedTensor;

use crate::ranks::Ranks;

/// A file of tensors that cannot be used. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Not a safetensors file of float32 tensors.
    #[error("{}: not a complete safetensors file ({why})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        why: String,
    },
    /// Tensor and model do not belong together.
    #[error("{}: tensor `{name}` {problem}; the file belongs to another configuration", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// In what they differ.
        problem: String,
    },
}

/// Tensors read from a file, to be taken out by name.
#[derive(Debug, Default)]
pub struct TensorFile {
    path: PathBuf,
    tensors: BTreeMap<String, NamedTensor>,
}

impl TensorFile {
    /// Reads a whole file.
    ///
    /// # Errors
    ///
    /// [`TensorError::Io`] or [`TensorError::Damaged`].
    pub fn read(path: &Path) -> Result<Self, TensorError> {
        let bytes = fs::read(path).map_err(|source| TensorError::Io {
            path: path.to_owned(),
            source,
        })?;
        let damaged = |why: String| TensorError::Damaged {
            path: path.to_owned(),
            why,
        };
        let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(damaged(format!("tensor `{name}` is not float32")));
            }
            let values = view
                .data()
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                .collect();
            let tensor = NamedTensor {
                name: name.clone(),
                shape: view.shape().to_vec(),
                values,
            };
            tensors.insert(name, tensor);
        }
        Ok(Self {
            path: path.to_owned(),
            tensors,
        })
    }

    /// The file that rank 0 has read, on all ranks; `own` is nothing on the others.
    pub(crate) fn from_first(own: Option<Self>, ranks: &Ranks) -> Self {
        if ranks.is_alone() {
            return own.unwrap_or_default();
        }
        let own = own.unwrap_or_default();
        let heads: Vec<(&str, &[usize])> = (own.tensors.values())
            .map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
            .collect();
        let doing = "sending the optimizer's moments";
        let heads = serde_json::to_vec(&(&own.path, heads)).unwrap_or_default();
        let heads = ranks.sent_by_first(heads, doing);
        let (path, heads): (PathBuf, Vec<(String, Vec<usize>)>) =
            serde_json::from_slice(&heads).unwrap_or_default();
        let mut numbers = own.tensors;
        let tensors = heads.into_iter().map(|(name, shape)| {
            let count = shape.iter().product();
            let own = numbers.remove(&name).map(|tensor| tensor.values);
            let own = own.unwrap_or_else(|| vec![0.0; count]);
            let values = ranks.numbers_from_first(own, doing);
            (
                name.clone(),
                NamedTensor {
                    name,
                    shape,
                    values,
                },
            )
        });
        Self {
            tensors: tensors.collect(),
            path,
        }
    }

    /// Whether a tensor of this name is still there.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Takes a tensor of this name and shape out.
    ///
    /// # Errors
    ///
    /// [`TensorError::Foreign`] where it is not there or has another shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, TensorError> {
        let problem = match self.tensors.remove(name) {
            Some(tensor) if tensor.shape == shape => return Ok(tensor.values),
            Some(tensor) => format!("has shape {:?}, the model {shape:?}", tensor.shape),
            None => "is missing".to_owned(),
        };
        Err(TensorError::Foreign {
            path: self.path.clone(),
            name: name.to_owned(),
            problem,
        })
    }

    /// Whether all tensors were taken.
    ///
    /// # Errors
    ///
    /// [`TensorError::Foreign`] with the first one left.
    pub(crate) fn expect_empty(&self) -> Result<(), TensorError> {
        match self.tensors.keys().next() {
            None => Ok(()),
            Some(name) => Err(TensorError::Foreign {
                path: self.path.clone(),
                name: name.clone(),
                problem: "belongs to no parameter of this model and optimizer".to_owned(),
            }),
        }
    }
}
