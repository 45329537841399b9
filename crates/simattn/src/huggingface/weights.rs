use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, tensor::Metadata};
use serde::Deserialize;

use super::{
    HuggingFaceError as Error,
    file_names::{INDEX, WEIGHTS},
};
use crate::finite;

/// The tensors of a folder: of `model.safetensors`, or of the shards that its index names.
///
/// Opening reads the heads of the files and checks every place in them against the file's length;
/// [`Weights::read`] then reads one tensor at a time.
#[derive(Debug)]
pub struct Weights {
    folder: PathBuf,
    files: Vec<(PathBuf, File)>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    file: usize,
    /// Bytes from the beginning of the file.
    start: u64,
    bytes: usize,
    shape: Vec<usize>,
    dtype: Dtype,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The format's own limit on a head, so that a wrong length is not taken for memory to allocate.
const LARGEST_HEAD: u64 = 100_000_000;
/// Bytes of the length before the head.
const LENGTH: u64 = 8;

impl Weights {
    /// Opens a folder's weights.
    ///
    /// # Errors
    /// No weights or two sets of them, a shard whose name leads elsewhere, a damaged file, shards
    /// that contradict their index.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let mut weights = Self {
            folder: folder.into(),
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        let single = folder.join(WEIGHTS);
        let index = folder.join(INDEX);
        match (single.is_file(), index.is_file()) {
            (true, true) => {
                return Err(Error::Ambiguous {
                    path: folder.into(),
                    first: WEIGHTS,
                    second: INDEX,
                });
            }
            (true, false) => weights.add(single)?,
            (false, true) => weights.add_shards(&index)?,
            (false, false) => {
                return Err(Error::Absent {
                    path: folder.into(),
                    missing: format!(
                        "{WEIGHTS} (or {INDEX}; pickled weights are never read, save them as \
                         safetensors)"
                    ),
                });
            }
        }
        Ok(weights)
    }

    fn add_shards(&mut self, path: &Path) -> Result<(), Error> {
        let text = std::fs::read(path).map_err(Error::io(path))?;
        let index: Index = serde_json::from_slice(&text).map_err(|why| Error::Json {
            path: path.into(),
            why: why.to_string(),
        })?;
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        for name in shards {
            if !is_plain(name) {
                return Err(Error::ShardName {
                    path: path.into(),
                    name: name.clone(),
                });
            }
            let shard = self.folder.join(name);
            if !shard.is_file() {
                return Err(Error::Absent {
                    path: self.folder.clone(),
                    missing: format!("shard {name}"),
                });
            }
            self.add(shard)?;
        }
        for (tensor, shard) in &index.weight_map {
            let found = self.tensors.get(tensor);
            let source = found.map(|entry| &self.files[entry.file].0);
            if source != Some(&self.folder.join(shard)) {
                return Err(Error::Missing {
                    path: self.folder.join(shard),
                    name: tensor.clone(),
                });
            }
        }
        let extra = |name: &&String| !index.weight_map.contains_key(*name);
        match self.tensors.keys().find(extra) {
            None => Ok(()),
            Some(name) => Err(Error::Unexpected {
                path: self.folder.clone(),
                name: name.clone(),
                why: "its shard holds it, the index does not name it",
            }),
        }
    }

    /// Reads a file's head and takes up its tensors.
    fn add(&mut self, path: PathBuf) -> Result<(), Error> {
        let damaged = |why: String| Error::Damaged {
            path: path.clone(),
            why,
        };
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let mut head = [0; LENGTH as usize];
        if length < LENGTH {
            return Err(damaged(format!("it has {length} bytes")));
        }
        file.read_exact(&mut head).map_err(Error::io(&path))?;
        let head_length = u64::from_le_bytes(head);
        if head_length > LARGEST_HEAD || head_length > length - LENGTH {
            return Err(damaged(format!(
                "its head is said to have {head_length} bytes, the file has {length}"
            )));
        }
        let mut head = vec![0; head_length as usize];
        file.read_exact(&mut head).map_err(Error::io(&path))?;
        let metadata = described(&head).map_err(|why| damaged(one_line(&why.to_string())))?;
        let (data, held) = (metadata.data_len() as u64, length - LENGTH - head_length);
        if data != held {
            return Err(damaged(format!(
                "its head describes {data} bytes of tensors, it holds {held}"
            )));
        }
        let place = self.files.len();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let entry = Entry {
                file: place,
                start: LENGTH + head_length + start as u64,
                bytes: end - start,
                shape: info.shape.clone(),
                dtype: info.dtype,
            };
            if let Some(other) = self.tensors.insert(name.clone(), entry) {
                let other = self.files[other.file].0.display().to_string();
                return Err(damaged(format!("tensor `{name}` is in {other} too")));
            }
        }
        self.files.push((path, file));
        Ok(())
    }

    /// Names of all tensors, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A tensor's lengths of axes, if it is there.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// Elements of all tensors.
    pub fn elements(&self) -> u128 {
        let sizes = self.tensors.values();
        sizes
            .map(|entry| entry.shape.iter().map(|&n| n as u128).product::<u128>())
            .sum()
    }

    /// Checks that a tensor is there with this shape and of a type that is read.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Shape`] or [`Error::Type`].
    pub fn check(&self, name: &str, expected: &[usize]) -> Result<(), Error> {
        let Some(entry) = self.tensors.get(name) else {
            return Err(Error::Missing {
                path: self.folder.clone(),
                name: name.into(),
            });
        };
        if entry.shape != expected {
            return Err(Error::Shape {
                path: self.folder.clone(),
                name: name.into(),
                found: entry.shape.clone(),
                expected: expected.into(),
            });
        }
        match entry.dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => Ok(()),
            other => Err(Error::Type {
                path: self.folder.clone(),
                name: name.into(),
                found: other.to_string(),
            }),
        }
    }

    /// A tensor's elements as float32; float16 and bfloat16 lose nothing.
    ///
    /// # Errors
    /// A tensor that is not there or of another type, a file that cannot be read, or
    /// [`Error::NotFinite`] where an element is NaN or infinite.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let shape = self.shape(name).unwrap_or_default();
        self.check(name, shape)?;
        let entry = &self.tensors[name];
        let (path, file) = &self.files[entry.file];
        let mut file = file;
        let mut bytes = vec![0; entry.bytes];
        file.seek(SeekFrom::Start(entry.start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(Error::io(path))?;
        let pairs = || bytes.chunks_exact(2).map(|b| [b[0], b[1]]);
        let values: Vec<f32> = match entry.dtype {
            Dtype::F16 => pairs().map(|b| f16::from_le_bytes(b).to_f32()).collect(),
            Dtype::BF16 => pairs().map(|b| bf16::from_le_bytes(b).to_f32()).collect(),
            // `check` let nothing else through.
            _ => bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .collect(),
        };
        finite::check(name, &values).map_err(|source| Error::NotFinite {
            path: path.clone(),
            source,
        })?;
        Ok(values)
    }
}

/// What a head describes. Its entry `__metadata__` is for people: it is passed over, whatever it
/// holds.
fn described(head: &[u8]) -> Result<Metadata, serde_json::Error> {
    serde_json::from_slice(head).or_else(|why| {
        let mut entries: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(head)?;
        match entries.remove("__metadata__") {
            Some(_) => serde_json::from_value(entries.into()),
            None => Err(why),
        }
    })
}

/// Whether a shard's name is one name, of this folder, with the right ending.
fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    let one = matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(part)), None) if part == name
    );
    one && name.ends_with(".safetensors") && !name.contains(['/', '\\', ':', '\0'])
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn only_plain_names_are_shards() {
        assert!(is_plain("model-00001-of-00002.safetensors"));
        for name in [
            "",
            ".",
            "..",
            "../model.safetensors",
            "/tmp/model.safetensors",
            "a/model.safetensors",
            "a\\model.safetensors",
            "c:model.safetensors",
            "./model.safetensors",
            "model.safetensors/",
            "model.bin",
        ] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
