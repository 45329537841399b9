//! Prompts from a file.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::{CliError, input};

/// The prompts of a file, one a line; empty lines are none.
pub(super) fn read(file: &Path) -> Result<Vec<String>, CliError> {
    let place = |line: usize| format!("{}, line {line}", file.display());
    let text = fs::read_to_string(file)
        .map_err(|error| input(format_args!("{}: {error}", file.display())))?;
    let is_json = file.extension().is_some_and(|ending| ending == "jsonl");
    let mut prompts = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        if !is_json {
            prompts.push(line.to_owned());
            continue;
        }
        let value: Value = serde_json::from_str(line)
            .map_err(|error| input(format_args!("{}: no JSON: {error}", place(number + 1))))?;
        let prompt = value.as_str().or_else(|| value["prompt"].as_str());
        prompts.push(prompt.map(str::to_owned).ok_or_else(|| {
            input(format_args!(
                "{}: neither a text nor an object with a text \"prompt\"",
                place(number + 1)
            ))
        })?);
    }
    if prompts.is_empty() {
        return Err(input(format_args!("{}: no prompt in it", file.display())));
    }
    Ok(prompts)
}
