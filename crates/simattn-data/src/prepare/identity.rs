//! What makes two jobs the same.

use super::Job;
use super::error::PrepareError;
use crate::reading::InputFile;
use crate::shards::JOURNAL;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Everything that the shards depend on, apart from the contents of the inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The tokenizer's fingerprint.
    tokenizer: String,
    field: String,
    validation_fraction: f64,
    seed: u64,
    shard_tokens: u64,
    /// Paths and bytes on the disk.
    inputs: Vec<(String, u64)>,
    /// How many of the inputs, from the last, are held out.
    #[serde(default)]
    held_out: usize,
    /// Whether documents are held against those held out; versions that began some folders only
    /// compared names.
    #[serde(default)]
    pub(super) compares_documents: bool,
}

impl Identity {
    pub(super) fn of(job: &Job, files: &[InputFile]) -> Self {
        Self {
            tokenizer: job.tokenizer.fingerprint(),
            field: job.field.to_owned(),
            validation_fraction: job.validation_fraction,
            seed: job.seed,
            shard_tokens: job.shard_tokens,
            inputs: files
                .iter()
                .map(|file| (file.path.display().to_string(), file.bytes))
                .collect(),
            held_out: files.iter().filter(|file| file.held_out).count(),
            compares_documents: true,
        }
    }

    /// The files that an earlier version began a folder with, and those beside them in the job's
    /// folders and patterns: it did not read linked folders, nor JSON lines of other names. What it
    /// began continues with the same files. All are the first where no such version began the
    /// folder, or with others.
    pub(super) fn as_begun(job: &Job, files: Vec<InputFile>) -> (Vec<InputFile>, Vec<InputFile>) {
        #[derive(Deserialize)]
        struct Begun {
            identity: Identity,
        }
        let journal = fs::read(job.out.join(JOURNAL)).ok();
        let begun = journal.and_then(|text| serde_json::from_slice::<Begun>(&text).ok());
        let Some(begun) = begun.filter(|begun| !begun.identity.compares_documents) else {
            return (files, Vec::new());
        };
        let inputs = begun.identity.inputs.into_iter();
        let known: HashSet<String> = inputs.map(|(path, _)| path).collect();
        let is_known = |file: &InputFile| known.contains(&file.path.display().to_string());
        if files.iter().filter(|file| is_known(file)).count() < known.len() {
            return (files, Vec::new());
        }
        let named = |file: &InputFile| {
            job.inputs.contains(&file.path) || job.validation.contains(&file.path)
        };
        files
            .into_iter()
            .partition(|file| is_known(file) || named(file))
    }

    /// Refuses to continue a folder that another job began.
    pub(super) fn check(&self, now: &Self, folder: &Path) -> Result<(), PrepareError> {
        let differs = |field: &'static str, before: String, now: String| {
            Err(PrepareError::OtherJob {
                path: folder.to_owned(),
                field,
                before,
                now,
            })
        };
        let pairs = [
            (
                "the tokenizer",
                self.tokenizer.clone(),
                now.tokenizer.clone(),
            ),
            ("the field", self.field.clone(), now.field.clone()),
            (
                "the validation fraction",
                self.validation_fraction.to_string(),
                now.validation_fraction.to_string(),
            ),
            ("the seed", self.seed.to_string(), now.seed.to_string()),
            (
                "inputs for validation, in number",
                self.held_out.to_string(),
                now.held_out.to_string(),
            ),
            (
                "shards of tokens",
                self.shard_tokens.to_string(),
                now.shard_tokens.to_string(),
            ),
        ];
        for (field, before, now) in pairs {
            if before != now {
                return differs(field, before, now);
            }
        }
        let named = |(path, bytes): &(String, u64)| format!("{path} ({bytes} bytes)");
        for (before, now) in self.inputs.iter().zip(&now.inputs) {
            if before != now {
                return differs("the input", named(before), named(now));
            }
        }
        let (before, now) = (self.inputs.len(), now.inputs.len());
        if before != now {
            return differs("inputs, in number", before.to_string(), now.to_string());
        }
        Ok(())
    }

    /// For the index.
    pub(super) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "field": self.field,
            "validation_fraction": self.validation_fraction,
            "seed": self.seed,
            "shard_tokens": self.shard_tokens,
            "files": self.inputs.len(),
            "files_held_out": self.held_out,
            "bytes": self.inputs.iter().map(|(_, bytes)| bytes).sum::<u64>(),
        })
    }
}
