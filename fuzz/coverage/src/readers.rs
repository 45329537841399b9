//! Which lines are a target's reader.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// A file of a reader.
pub struct Reader {
    /// From the root of the repository.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Lines that do not read.
    except: Vec<RangeInclusive<usize>>,
}

impl Reader {
    /// Whether a line counts.
    pub fn counts(&self, line: usize) -> bool {
        !self.except.iter().any(|range| range.contains(&line))
    }
}

/// The files that the first lines of a target name.
pub fn of(target: &str) -> Result<Vec<Reader>, String> {
    let path = format!("fuzz_targets/{target}.rs");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! reader: "));
    lines.map(reader).collect()
}

fn reader(line: &str) -> Result<Reader, String> {
    let (name, except) = line.split_once(" except ").unwrap_or((line, ""));
    let path = Path::new("..").join(name);
    let path = path
        .canonicalize()
        .map_err(|error| format!("{name}: {error}"))?;
    let source = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
    let mut all = Vec::new();
    for item in except.split_whitespace() {
        match ranges(&source, item) {
            Some(ranges) => all.extend(ranges),
            None => eprintln!("{name}: no {item} there, see the first lines of the target"),
        }
    }
    Ok(Reader {
        name: name.to_owned(),
        path,
        except: all,
    })
}

/// The lines of all functions and `impl` blocks of a name. Sources are formatted by rustfmt: an item
/// ends at the first closing brace that is indented as it is.
fn ranges(source: &str, item: &str) -> Option<Vec<RangeInclusive<usize>>> {
    let lines: Vec<&str> = source.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let begins = |line: &&str| {
        let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let function = words.windows(2).any(|pair| pair == ["fn", item]);
        function || (words.first() == Some(&"impl") && words.contains(&item))
    };
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| begins(line)) {
        let ends = |other: &str| indent(other) == indent(line) && other.trim_start() == "}";
        let end = lines[at..].iter().position(|other| ends(other))?;
        found.push(at + 1..=at + 1 + end);
    }
    (!found.is_empty()).then_some(found)
}
