//! The table of the fuzz runs: target, hours, executions, lines reached, finds.
//!
//! Lines are counted by running a target over its corpus once, built with the compiler's own
//! counters in our crates, which LLVM's tools map to lines. Which files are a target's reader stands
//! in its first lines: `//! reader: FILE except NAME…`, the names being functions and `impl` blocks of
//! the file that do not read.

mod lines;
mod readers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the ledger of `run.sh` lies.
const STATE: &str = "state";

/// What the ledger says of a target.
#[derive(Default)]
struct Runs {
    seconds: u64,
    executions: u64,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(built) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: coverage FOLDER-OF-BINARIES [--missing] [TARGET…]");
        return ExitCode::from(2);
    };
    let (options, mut targets): (Vec<String>, Vec<String>) =
        arguments.partition(|argument| argument.starts_with("--"));
    if targets.is_empty() {
        targets = all_targets();
    }
    let runs = ledger();
    let finds = finds();
    println!("| target | hours | executions | lines reached | finds |");
    println!("|---|---|---|---|---|");
    for target in targets {
        let runs = runs.get(&target);
        let (seconds, executions) = runs.map_or((0, 0), |runs| (runs.seconds, runs.executions));
        let reached = match lines::reached(&target, &built) {
            Ok(reached) => reached,
            Err(problem) => {
                eprintln!("{target}: {problem}");
                return ExitCode::FAILURE;
            }
        };
        let all: usize = reached.iter().map(|file| file.lines).sum();
        let hit: usize = reached
            .iter()
            .map(|file| file.lines - file.missing.len())
            .sum();
        println!(
            "| {target} | {:.2} | {executions} | {hit} of {all} ({:.0} %) | {} |",
            seconds as f64 / 3600.0,
            100.0 * hit as f64 / all.max(1) as f64,
            finds.get(&target).copied().unwrap_or_default(),
        );
        if options.iter().any(|option| option == "--missing") {
            for file in reached {
                let share = 100 * (file.lines - file.missing.len()) / file.lines.max(1);
                println!("    {} {share} %, not: {:?}", file.name, file.missing);
            }
        }
    }
    ExitCode::SUCCESS
}

fn all_targets() -> Vec<String> {
    let folder = std::fs::read_dir("fuzz_targets").into_iter().flatten();
    let paths = folder.flatten().map(|entry| entry.path());
    let mut names: Vec<String> = paths
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Time and executions of all runs.
fn ledger() -> BTreeMap<String, Runs> {
    let text = read(&Path::new(STATE).join("runs.tsv"));
    let mut all: BTreeMap<String, Runs> = BTreeMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let [_, target, seconds, executions, ..] = fields[..] {
            let runs = all.entry(target.to_owned()).or_default();
            runs.seconds += seconds.parse().unwrap_or(0);
            runs.executions += executions.parse().unwrap_or(0);
        }
    }
    all
}

/// Finds at different places in the code.
fn finds() -> BTreeMap<String, usize> {
    let text = read(&Path::new(STATE).join("finds.tsv"));
    let mut places: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some((fields.next()?, fields.next()?))
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    let mut counts = BTreeMap::new();
    for (target, _) in places {
        *counts.entry(target.to_owned()).or_default() += 1;
    }
    counts
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
