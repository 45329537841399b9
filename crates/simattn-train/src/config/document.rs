//! TOML text → typed tree, with errors that say where and what to write instead.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::error::RunConfigError;

/// Reads a TOML file as `T`.
///
/// # Errors
///
/// [`RunConfigError::Unreadable`] or [`RunConfigError::Malformed`].
pub(crate) fn read_document<T: DeserializeOwned>(path: &Path) -> Result<T, RunConfigError> {
    parse_document(&read_text(path)?, path)
}

/// No configuration is longer. A device that never ends is read no further.
const LONGEST: u64 = 16 << 20;

/// The text of a configuration file.
pub(super) fn read_text(path: &Path) -> Result<String, RunConfigError> {
    let unreadable = |source| RunConfigError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > LONGEST {
        let longer = "longer than 16 MiB, which no configuration is";
        return Err(unreadable(io::Error::new(
            io::ErrorKind::InvalidData,
            longer,
        )));
    }
    Ok(text)
}

/// Reads TOML text as `T`; `path` only names it in errors.
///
/// # Errors
///
/// [`RunConfigError::Malformed`].
pub fn parse_document<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, RunConfigError> {
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        let (line, column) = position(text, span.start);
        RunConfigError::Malformed {
            path: path.to_owned(),
            line,
            column,
            message: explain(error.message(), text, span),
        }
    })
}

/// Line breaks inside a message become spaces.
pub(super) fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Line and column, from 1, of a byte offset.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// serde's message, with the section and the nearest known name for an unknown one.
pub(super) fn explain(message: &str, text: &str, span: Range<usize>) -> String {
    let message = one_line(message);
    for kind in ["field", "variant"] {
        let Some(rest) = message.strip_prefix(&format!("unknown {kind} `")) else {
            continue;
        };
        let Some((unknown, expected)) = rest.split_once('`') else {
            continue;
        };
        let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        let what = if kind == "field" { "field" } else { "value" };
        let place = section(text, span.start)
            .map(|name| format!(" in {name}"))
            .unwrap_or_default();
        let hint = match nearest(unknown, &known) {
            Some(name) => format!("did you mean `{name}`?"),
            None if known.is_empty() => "nothing may stand there".to_owned(),
            None => format!("known are {}", quoted(&known)),
        };
        return format!("unknown {what} `{unknown}`{place}, {hint}");
    }
    message
}

/// The header of the table that the offset lies in: the last line before it that opens one.
/// None at the top, and on a header's own line.
fn section(text: &str, offset: usize) -> Option<&str> {
    let before = text.get(..offset)?;
    let mut lines = before.split('\n').rev().map(str::trim);
    if lines.next()?.starts_with('[') {
        return None;
    }
    lines
        .find(|line| line.starts_with('['))
        .map(|line| line.split('#').next().unwrap_or(line).trim())
}

/// The known name that `unknown` is a slip of the finger away from, or else one that begins alike.
fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    let slips = |name: &str| strsim::damerau_levenshtein(unknown, name);
    let likeness = |name: &str| strsim::jaro_winkler(unknown, name);
    let close = known.iter().copied().min_by_key(|name| slips(name))?;
    if slips(close) <= 1 + unknown.chars().count() / 4 {
        return Some(close);
    }
    known
        .iter()
        .copied()
        .filter(|name| likeness(name) >= 0.8)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_configuration_that_never_ends_is_refused() {
        let error = read_text(Path::new("/dev/zero")).expect_err("it never ends");
        assert!(error.to_string().contains("longer than 16 MiB"), "{error}");
    }

    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors of reading it matter")]
    struct Outer {
        seed: u64,
        model: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors of reading it matter")]
    struct Inner {
        layers: usize,
        norm: Norm,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Norm {
        Layer,
        Rms,
    }

    fn error_of(text: &str) -> String {
        parse_document::<Outer>(text, Path::new("run.toml"))
            .expect_err("the text is wrong")
            .to_string()
    }

    #[test]
    fn each_defect_gets_one_line_with_its_place() {
        let table = [
            (
                "seed = 1\n[model]\nlayrs = 2\n",
                "run.toml:3:1: unknown field `layrs` in [model], did you mean `layers`?",
            ),
            (
                "seed = 1\n[model]\nlayers = 2\nnorm = \"rsm\"\n",
                "run.toml:4:8: unknown value `rsm` in [model], did you mean `rms`?",
            ),
            (
                "seed = 1\n[model]\nlayers = 1\nnorm = \"rms\"\n[modle]\na = 1\n",
                "run.toml:5:2: unknown field `modle`, did you mean `model`?",
            ),
            (
                "sede = 1\n",
                "run.toml:1:1: unknown field `sede`, did you mean `seed`?",
            ),
            (
                "model_settings = 1\n",
                "run.toml:1:1: unknown field `model_settings`, did you mean `model`?",
            ),
            (
                "xyz = 1\n",
                "run.toml:1:1: unknown field `xyz`, known are `seed`, `model`",
            ),
            (
                "seed = \"one\"\n",
                "run.toml:1:8: invalid type: string \"one\", expected u64",
            ),
            ("seed = 1\n", "run.toml:1:1: missing field `model`"),
        ];
        for (text, expected) in table {
            assert_eq!(error_of(text), expected);
        }
    }

    #[test]
    fn any_error_is_one_line() {
        for text in [
            "seed = [",
            "seed = -1",
            "= 3",
            "seed = 1\nseed = 2",
            "\u{0}",
            "seed = \"\n",
        ] {
            let error = error_of(text);
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(error.starts_with("run.toml:"), "{error}");
        }
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("é = 1\nüü = x", 12), (2, 4));
    }
}
