//! Token files of other tools.
//!
//! | tool | layout | recognised by |
//! |---|---|---|
//! | llm.c, modded-nanogpt | 256 int32 (magic, version, tokens, zeros), then ids of 16 bits (magic 20240520, version 1) or of 32 (20240801, version 7) | the magic |
//! | nanoGPT | 16-bit ids and nothing else | the names `train.bin` and `val.bin` |

use super::error::ShardError;
use super::header::Width;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes of an llm.c header.
pub(super) const LLM_C_HEADER: u64 = 1024;

/// What an llm.c header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LlmC {
    pub(super) width: Width,
    pub(super) tokens: u64,
}

/// Reads an llm.c header from the first bytes of a file; `None` where the magic is another.
pub(super) fn llm_c(start: &[u8], path: &Path) -> Option<Result<LlmC, ShardError>> {
    let number = |at: usize| -> Option<i32> {
        let four = start.get(4 * at..4 * at + 4)?;
        Some(i32::from_le_bytes(four.try_into().ok()?))
    };
    let (width, expected) = match number(0)? {
        20_240_520 => (Width::U16, 1),
        20_240_801 => (Width::U32, 7),
        _ => return None,
    };
    let (version, tokens) = (number(1)?, number(2)?);
    if version != expected {
        return Some(Err(ShardError::Version {
            path: path.to_owned(),
            found: version.into(),
            expected: expected as u32,
        }));
    }
    Some(match u64::try_from(tokens) {
        Ok(tokens) => Ok(LlmC { width, tokens }),
        Err(_) => Err(ShardError::Header {
            path: path.to_owned(),
            problem: format!("{tokens} tokens"),
        }),
    })
}

/// Whether a folder holds token files of llm.c or nanoGPT: one whose name says "train" and ends in `.bin`.
pub fn is_foreign_folder(folder: &Path) -> bool {
    files(folder, &["train"]).is_ok_and(|found| !found.is_empty())
}

/// The training and the validation files of such a folder, each in the order of their names.
///
/// # Errors
///
/// A folder that cannot be listed, or without files for one of the parts.
pub fn foreign_folder(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ShardError> {
    let parts = (files(folder, &["train"])?, files(folder, &["val"])?);
    for (part, found) in [("training", &parts.0), ("validation", &parts.1)] {
        if found.is_empty() {
            return Err(ShardError::NoPart {
                path: folder.to_owned(),
                part,
                hint: "name the files …train….bin and …val….bin, as llm.c and nanoGPT do",
            });
        }
    }
    Ok(parts)
}

fn files(folder: &Path, marks: &[&str]) -> Result<Vec<PathBuf>, ShardError> {
    let mut found = Vec::new();
    let refused = |error: std::io::Error| ShardError::system(folder, &error);
    for entry in fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let named = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = named
            && name.ends_with(".bin")
            && marks.iter().any(|mark| name.contains(mark))
            && path.is_file()
        {
            found.push(path);
        }
    }
    found.sort_unstable();
    Ok(found)
}
