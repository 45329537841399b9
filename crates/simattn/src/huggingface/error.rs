use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::{config::ModelConfigError, finite::NotFinite};

/// Why a folder was not taken for a model, or a model cannot be written as one.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HuggingFaceError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that must be there is not.
    #[error("{}: no model to convert there: {missing} is missing", path.display())]
    Absent {
        /// The folder.
        path: PathBuf,
        /// What was looked for.
        missing: String,
    },
    /// Weights stand there twice.
    #[error("{}: holds both {first} and {second}: remove the one that is not meant", path.display())]
    Ambiguous {
        /// The folder.
        path: PathBuf,
        /// One of them.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Not JSON, or JSON of another form.
    #[error("{}: {why}", path.display())]
    Json {
        /// Which file.
        path: PathBuf,
        /// What the reader said.
        why: String,
    },
    /// A field of the configuration that is missing, unknown, or says what is not supported.
    #[error("{}: field `{field}` {why}", path.display())]
    Field {
        /// Which file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        why: String,
    },
    /// The configuration contradicts itself.
    #[error("{}: {source}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// The contradiction, in our own fields' names.
        source: ModelConfigError,
    },
    /// A shard whose name would lead out of the folder.
    #[error("{}: shard `{name}` is not the plain name of a .safetensors file in this folder", path.display())]
    ShardName {
        /// The index.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Not a safetensors file, or a damaged one.
    #[error(
        "{}: not a complete safetensors file ({why}): copy or download it again",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A tensor that the configuration asks for is not there.
    #[error("{}: tensor `{name}` is missing: config.json and weights do not belong together", path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor that the configuration knows nothing of.
    #[error("{}: tensor `{name}` has no place in this model ({why})", path.display())]
    Unexpected {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Why not.
        why: &'static str,
    },
    /// A tensor of another shape.
    #[error("{}: tensor `{name}` has shape {found:?}, config.json says {expected:?}", path.display())]
    Shape {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// As in the file.
        found: Vec<usize>,
        /// As configured.
        expected: Vec<usize>,
    },
    /// A tensor of a type that is not read.
    #[error("{}: tensor `{name}` has type {found}: only F32, F16 and BF16 are read", path.display())]
    Type {
        /// The folder.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// As in the file.
        found: String,
    },
    /// A tensor of the folder holds NaN or infinity.
    #[error("{}: {source}: copy or download the file again; such a model computes nothing", path.display())]
    NotFinite {
        /// Which file.
        path: PathBuf,
        /// The tensor.
        source: NotFinite,
    },
    /// A tensor of the model that is to be written holds NaN or infinity.
    #[error("{0}: such a model is not written")]
    Broken(NotFinite),
    /// More weights are configured than there are.
    #[error("{}: config.json describes {described} weights, the files hold {held}", path.display())]
    Size {
        /// The folder.
        path: PathBuf,
        /// By the configuration.
        described: u128,
        /// In the files.
        held: u128,
    },
    /// A number that the wanted type cannot hold.
    #[error("tensor `{name}` holds {value}, beyond {float}: write {instead}")]
    Range {
        /// The tensor.
        name: String,
        /// The number.
        value: f32,
        /// The type, `float16` or `bfloat16`.
        float: &'static str,
        /// Types that hold it.
        instead: &'static str,
    },
}

impl HuggingFaceError {
    pub(super) fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |source| Self::Io {
            path: path.into(),
            source,
        }
    }
}
