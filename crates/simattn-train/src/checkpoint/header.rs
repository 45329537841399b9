//! What a file of tensors says of itself, without its numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::error::{CheckpointError, failed};

/// Bytes of the longest header that readers of safetensors take.
const LONGEST: u64 = 100_000_000;

/// The header of a safetensors file that [`simattn::checkpoint::write`] wrote.
#[derive(Debug)]
pub(super) struct Header {
    /// The shape of every tensor, by name. All are float32.
    pub(super) shapes: BTreeMap<String, Vec<usize>>,
    /// What is stored with them.
    pub(super) metadata: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Header {
    /// Reads the header of `file` in a checkpoint and holds it against the file's length: its
    /// tensors must fill the rest, one after the other, as their shapes tell.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Damaged`] with what differs.
    pub(super) fn read(folder: &Path, file: &'static str) -> Result<Self, CheckpointError> {
        let path = folder.join(file);
        let mut opened = File::open(&path).map_err(failed(&path, "read"))?;
        let length = opened.metadata().map_err(failed(&path, "read"))?.len();
        let damaged = |why: String| CheckpointError::Damaged {
            path: folder.to_owned(),
            file,
            why,
        };
        let short = || damaged(format!("is no safetensors file: {length} bytes"));
        let data = length.checked_sub(8).ok_or_else(short)?;
        let mut size = [0; 8];
        opened
            .read_exact(&mut size)
            .map_err(failed(&path, "read"))?;
        let size = u64::from_le_bytes(size);
        let data = data.checked_sub(size).ok_or_else(short)?;
        if size > LONGEST {
            return Err(damaged(format!("has a header of {size} bytes")));
        }
        let mut text = vec![0; size as usize];
        opened
            .read_exact(&mut text)
            .map_err(failed(&path, "read"))?;
        Self::parse(&text, data)
            .map_err(|why| damaged(format!("is not a complete safetensors file ({why})")))
    }

    /// `data` is the number of bytes behind the header.
    fn parse(text: &[u8], data: u64) -> Result<Self, String> {
        let entries: BTreeMap<String, Value> =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let mut shapes = BTreeMap::new();
        let mut metadata = BTreeMap::new();
        let mut extents = Vec::new();
        for (name, value) in entries {
            if name == "__metadata__" {
                let text = value["simattn"].as_str().unwrap_or("{}");
                metadata = serde_json::from_str(text).map_err(|error| error.to_string())?;
                continue;
            }
            let entry: Entry = serde_json::from_value(value)
                .map_err(|error| format!("tensor `{name}`: {error}"))?;
            if entry.dtype != "F32" {
                return Err(format!("tensor `{name}` is not float32"));
            }
            let bytes = (entry.shape.iter()).try_fold(4_u64, |bytes, &side| {
                bytes.checked_mul(u64::try_from(side).ok()?)
            });
            let (start, end) = entry.data_offsets;
            if bytes.is_none() || end.checked_sub(start) != bytes {
                return Err(format!("tensor `{name}` has another length than its shape"));
            }
            extents.push((start, end));
            shapes.insert(name, entry.shape);
        }
        extents.sort_unstable();
        let mut at = 0;
        for (start, end) in extents {
            if start != at {
                return Err("its tensors overlap or leave gaps".to_owned());
            }
            at = end;
        }
        if at == data {
            Ok(Self { shapes, metadata })
        } else {
            Err(format!("{at} bytes of tensors, {data} are there"))
        }
    }

    /// The elements of all tensors.
    pub(super) fn elements(&self) -> u128 {
        let elements =
            |shape: &Vec<usize>| shape.iter().map(|&side| side as u128).product::<u128>();
        self.shapes.values().map(elements).sum()
    }

    /// A number of the metadata.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.metadata.get(name)?.parse().ok()
    }
}
