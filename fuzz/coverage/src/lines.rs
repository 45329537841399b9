//! The lines that a target's corpus reaches.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::readers;

/// A file of a reader, as far as it was reached.
pub struct Reached {
    /// From the root of the repository.
    pub name: String,
    /// Lines with code that count.
    pub lines: usize,
    /// Those of them that were not reached.
    pub missing: Vec<usize>,
}

/// Runs a target over its corpus and counts the lines of its reader.
pub fn reached(target: &str, built: &Path) -> Result<Vec<Reached>, String> {
    let readers = readers::of(target)?;
    let binary = built.join(target);
    let counted = Path::new("state").join("lines");
    fs::create_dir_all(&counted).map_err(|error| error.to_string())?;
    let [raw, merged] = ["profraw", "profdata"].map(|end| counted.join(format!("{target}.{end}")));
    // What a run that broke off left there would be taken for this one's.
    let _ = fs::remove_file(&raw);
    let status = Command::new(&binary)
        .arg(Path::new("corpus").join(target))
        .args(["-runs=0", "-timeout=0", "-rss_limit_mb=0"])
        .arg(format!("-artifact_prefix={}/", counted.display()))
        .env("LLVM_PROFILE_FILE", &raw)
        .env("RAYON_NUM_THREADS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let status = status.map_err(|error| format!("{}: {error}", binary.display()))?;
    if !status.success() {
        return Err("its corpus holds an input that breaks it".to_owned());
    }
    let mut merge = tool("llvm-profdata");
    merge
        .args(["merge", "-sparse"])
        .arg(&raw)
        .arg("-o")
        .arg(&merged);
    output(merge)?;
    let mut export = tool("llvm-cov");
    export.args(["export", "-format=lcov"]).arg(&binary);
    export.arg("-instr-profile").arg(&merged);
    export.args(readers.iter().map(|reader| &reader.path));
    let counts = counts(&output(export)?);
    let of_file = |reader: readers::Reader| {
        let counts = counts.get(&reader.path).into_iter().flatten();
        let mut lines: Vec<(usize, bool)> = counts
            .filter(|(line, _)| reader.counts(**line))
            .map(|(&line, &hit)| (line, hit))
            .collect();
        lines.sort_unstable();
        let missing = lines.iter().filter(|(_, hit)| !hit);
        Reached {
            missing: missing.map(|(line, _)| *line).collect(),
            lines: lines.len(),
            name: reader.name,
        }
    };
    Ok(readers.into_iter().map(of_file).collect())
}

/// Whether each line with code was reached, by file.
fn counts(lcov: &str) -> BTreeMap<PathBuf, BTreeMap<usize, bool>> {
    let mut all: BTreeMap<PathBuf, BTreeMap<usize, bool>> = BTreeMap::new();
    let mut file = PathBuf::new();
    for line in lcov.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            let path = Path::new(path);
            file = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        } else if let Some((line, count)) = line
            .strip_prefix("DA:")
            .and_then(|line| line.split_once(','))
            && let Ok(line) = line.parse()
        {
            *all.entry(file.clone())
                .or_default()
                .entry(line)
                .or_default() |= count != "0";
        }
    }
    all
}

/// One of LLVM's tools: in the folder that `LLVM_BIN` names, else beside the compiler, where rustup
/// puts them, else on the path.
fn tool(name: &str) -> Command {
    let named = env::var_os("LLVM_BIN").map(|folder| Path::new(&folder).join(name));
    let installed = || Some(beside_the_compiler()?.join(name)).filter(|tool| tool.is_file());
    Command::new(named.or_else(installed).unwrap_or_else(|| name.into()))
}

/// The folder of rustup's component `llvm-tools`, which is as old as the compiler: older tools do
/// not read its counters.
fn beside_the_compiler() -> Option<PathBuf> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir"]);
    let libraries = PathBuf::from(output(rustc).ok()?.trim());
    Some(libraries.parent()?.join("bin"))
}

fn output(mut command: Command) -> Result<String, String> {
    let said = command
        .output()
        .map_err(|error| format!("{:?}: {error}; see docs/fuzzing.md", command.get_program()))?;
    if !said.status.success() {
        return Err(String::from_utf8_lossy(&said.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}
