//! Token files of other tools.
//!
//! | tool | layout | recognised by |
//! |---|---|---|
//! | llm.c, modded-nanogpt | 256 int32 (magic, version, tokens, zeros), then ids of 16 bits (magic 20240520, version 1) or of 32 (20240801, version 7) | the magic |
//! | nanoGPT | ids and nothing else; 16 bits each where the vocabulary is at most 65,536, else 32 | having no mark of anything else |
//!
//! A file of the second kind says nothing of itself. Its width follows from the tokenizer, and what
//! contradicts that is refused: marks of other formats ([`super::marks`]), its length, an index
//! beside it, and the pattern of its numbers ([`super::pattern`]).

use super::error::ShardError;
use super::header::Width;
use super::naming::{Says, says};
use std::fs::{self, File};
use std::io::Read;
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

/// Whether a folder holds token files of llm.c or nanoGPT: one whose name says "train" and ends in
/// `.bin`.
pub fn is_foreign_folder(folder: &Path) -> bool {
    // Also within a longer word, which [`foreign_folder`] then refuses by name.
    token_files(folder)
        .is_ok_and(|found| (found.iter()).any(|(name, _)| name.to_lowercase().contains("train")))
}

/// The training and the validation files of such a folder, each in the order of their names.
///
/// The words of a name decide: `train` or `training`, or else `val`, `valid`, `validation`, `eval`
/// or `evaluation`. Files with none of these letters in their names are passed over.
///
/// # Errors
///
/// A folder that cannot be listed, or without files for one of the parts; a name that says both, or
/// says one only within another word, as `medieval_1.bin` does.
pub fn foreign_folder(folder: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ShardError> {
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for (name, path) in token_files(folder)? {
        let problem = match says(&name) {
            Says::Training => {
                training.push(path);
                continue;
            }
            Says::Validation => {
                validation.push(path);
                continue;
            }
            Says::Neither => continue,
            Says::Both => "says training and validation",
            Says::Within => "says its part only within a longer word",
        };
        return Err(ShardError::UnclearPart { path, problem });
    }
    for (part, found) in [("training", &training), ("validation", &validation)] {
        if found.is_empty() {
            return Err(ShardError::NoPart {
                path: folder.to_owned(),
                part,
                hint: "name the files …train….bin and …val….bin, as llm.c and nanoGPT do",
            });
        }
    }
    Ok((training, validation))
}

/// The files of a folder that end in `.bin`, sorted by path, each with its name.
fn token_files(folder: &Path) -> Result<Vec<(String, PathBuf)>, ShardError> {
    let mut found = Vec::new();
    let refused = |error: std::io::Error| ShardError::system(folder, &error);
    for entry in fs::read_dir(folder).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        // What is not UTF-8 in it is no letter.
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".bin") && path.is_file() {
            found.push((name.into_owned(), path));
        }
    }
    found.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
    Ok(found)
}

/// How the numbers of a Megatron data set are stored, where the index of one, `x.idx`, lies beside
/// `x.bin`: bits, and in words.
pub(super) fn megatron(bin: &Path) -> Option<(u32, &'static str)> {
    let mut start = [0; 18];
    let index = bin.with_extension("idx");
    // Whatever cannot be read is no such index.
    File::open(index).ok()?.read_exact(&mut start).ok()?;
    if !start.starts_with(b"MMIDIDX\0\0") {
        return None;
    }
    Some(match start[17] {
        1 | 2 => (8, "8-bit numbers, as the Megatron index beside it says"),
        3 | 8 => (16, "16-bit numbers, as the Megatron index beside it says"),
        4 => (32, "32-bit numbers, as the Megatron index beside it says"),
        5 => (64, "64-bit numbers, as the Megatron index beside it says"),
        _ => (
            0,
            "floating-point numbers, as the Megatron index beside it says",
        ),
    })
}
