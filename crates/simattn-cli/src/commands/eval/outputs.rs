//! The files that `simattn eval --tasks` writes.

use std::collections::HashSet;
use std::io::Write;

use serde_json::json;
use simattn_eval::{TaskRun, harness_json, sample_json};
use simattn_train::model_folder::{FileReservation, FolderError, Reservation};

use super::arguments::EvalArgs;
use crate::console::is_hidden;
use crate::error::{CliError, input};

/// Places for the files, taken before anything is scored.
pub(super) struct Outputs {
    /// Before the folder of samples, in which it may lie.
    json: Option<FileReservation>,
    samples: Option<Reservation>,
}

impl Outputs {
    /// Takes the places; folders above them that are missing are made.
    pub(super) fn take(args: &EvalArgs) -> Result<Self, CliError> {
        let json = args.json.as_deref().map(FileReservation::new);
        let json = json.transpose().map_err(input)?;
        let samples = args.log_samples.as_deref().map(Reservation::new);
        let samples = samples.transpose().map_err(input)?;
        Ok(Self { json, samples })
    }

    /// Writes what was asked for, each file whole or not at all.
    pub(super) fn write(self, args: &EvalArgs, runs: &[TaskRun]) -> Result<(), FolderError> {
        // Both are tried, so that a full disk under one does not take the other along.
        let samples = self
            .samples
            .map_or(Ok(()), |place| write_samples(place, runs));
        let json = self.json.map_or(Ok(()), |place| {
            let config = json!({
                "model": "simattn",
                "model_args": args.model.display().to_string(),
                "limit": args.limit,
                "fewshot_seed": args.seed,
                "batch_tokens": args.batch_tokens,
                "version": env!("CARGO_PKG_VERSION"),
            });
            let text = format!("{:#}\n", harness_json(runs, &config));
            place.publish(text.as_bytes())
        });
        samples.and(json)
    }
}

fn write_samples(place: Reservation, runs: &[TaskRun]) -> Result<(), FolderError> {
    let names = runs.iter().map(|run| run.task.name.as_str());
    for (run, name) in runs.iter().zip(file_names(names)) {
        let mut text = Vec::new();
        for (index, item) in run.items.iter().enumerate() {
            // A Vec takes everything.
            let _ = writeln!(text, "{}", sample_json(run, index, item));
        }
        place.write(&name, &text)?;
    }
    place.publish()
}

/// A name of a file for each task, all different: a task's name may hold anything, such as
/// "group/two".
fn file_names<'a>(tasks: impl Iterator<Item = &'a str>) -> Vec<String> {
    /// Bytes of a task's name at most, so that the file's name is not too long for any system.
    const LONGEST: usize = 180;
    let mut taken = HashSet::new();
    tasks
        .map(|task| {
            let unsafe_somewhere = |c: char| is_hidden(c) || "/\\:*?\"<>|".contains(c);
            let safe = task
                .chars()
                .map(|c| if unsafe_somewhere(c) { '_' } else { c });
            let mut safe: String = safe.collect();
            safe.truncate(safe.floor_char_boundary(LONGEST));
            let mut name = format!("samples_{safe}.jsonl");
            let mut number = 1;
            // Some systems take two names for one that differ in case alone.
            while !taken.insert(name.to_lowercase()) {
                number += 1;
                name = format!("samples_{safe}-{number}.jsonl");
            }
            name
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_gets_a_file_whatever_its_name() {
        let long = "n".repeat(3000);
        let tasks = [
            "arc_easy",
            "my-task.v2",
            "group/two",
            "group_two",
            "GROUP/two",
            "../up",
            "a\0b",
            "",
            &long,
            &long,
        ];
        let names = file_names(tasks.into_iter());
        let expected = [
            "samples_arc_easy.jsonl",
            "samples_my-task.v2.jsonl",
            "samples_group_two.jsonl",
            "samples_group_two-2.jsonl",
            "samples_GROUP_two-3.jsonl",
            "samples_.._up.jsonl",
            "samples_a_b.jsonl",
            "samples_.jsonl",
        ];
        assert_eq!(names[..8], expected);
        assert_ne!(names[8], names[9]);
        assert!(names.iter().all(|name| name.len() < 210));
    }
}
