//! `--set a.b=c`: any field of the configuration from the command line.

use std::path::Path;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::document::{explain, one_line, parse_document, read_text};
use super::error::RunConfigError;
use super::tree::{Given, Node, Tree, tree_of};

/// One field and its new value: `train.learning_rate=1e-3`.
///
/// The value is TOML (`3`, `true`, `[1, 2]`, `{ kind = "mha" }`). A field that holds text takes the
/// text literally, so that `data.source=text/books` needs no quotes and `data.source=2024` is the
/// folder of that name; where the text is a quoted TOML string it takes what is in the quotes.
///
/// ```
/// use simattn_train::Override;
///
/// assert!("train.steps=100".parse::<Override>().is_ok());
/// assert!("train.steps".parse::<Override>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    text: String,
    path: Vec<String>,
    value: Given,
}

impl FromStr for Override {
    type Err = RunConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = |message: &str| RunConfigError::Override {
            text: text.to_owned(),
            message: message.to_owned(),
        };
        let (path, value) = text
            .split_once('=')
            .ok_or_else(|| malformed("give a field and its value: train.steps=100"))?;
        let path: Vec<String> = path.split('.').map(|key| key.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err(malformed("a part of the field's name is empty"));
        }
        let value = value.trim();
        Ok(Self {
            text: text.to_owned(),
            path,
            value: Given {
                value: parse_value(value),
                text: value.to_owned(),
            },
        })
    }
}

/// A TOML value, or nothing where the text is not exactly one.
fn parse_value(text: &str) -> Option<Value> {
    if text.contains('\n') {
        return None;
    }
    let mut table: Table = toml::from_str(&format!("value = {text}\n")).ok()?;
    let value = (table.len() == 1)
        .then(|| table.remove("value"))
        .flatten()?;
    // `"a" # b` is a string and a comment: quotes around a part of the text are of the text.
    let whole = !value.is_str() || text.ends_with(['"', '\'']);
    whole.then_some(value)
}

impl Override {
    /// Whether it replaces `field`, spelled with its sections.
    pub(crate) fn replaces(&self, field: &str) -> bool {
        self.path.join(".") == field
    }

    /// Puts the value into the tree, making the tables on its way.
    fn apply(&self, tree: &mut Tree) -> Result<(), RunConfigError> {
        let mut table = tree;
        let Some((field, sections)) = self.path.split_last() else {
            return Ok(());
        };
        for section in sections {
            let entry = table
                .entry(section.clone())
                .or_insert_with(|| Node::Table(Tree::new()));
            // A table that was given whole can have its fields replaced like any other.
            if let Node::Given(Given {
                value: Some(Value::Table(given)),
                ..
            }) = entry
            {
                *entry = Node::from(Value::Table(std::mem::take(given)));
            }
            table = match entry {
                Node::Table(table) => table,
                _ => {
                    return Err(RunConfigError::Override {
                        text: self.text.clone(),
                        message: format!("`{section}` is a value, not a section"),
                    });
                }
            };
        }
        table.insert(field.clone(), Node::Given(self.value.clone()));
        Ok(())
    }

    /// The reader's message with the section that this override is in, as for a file.
    fn explain(&self, message: &str) -> RunConfigError {
        let sections = self.path.len().saturating_sub(1);
        // The reader says which field it does not know, not where; the section it is in is
        // the one before that name in the path.
        let depth = self
            .path
            .iter()
            .position(|key| message.contains(&format!("unknown field `{key}`")))
            .unwrap_or(sections);
        let header = match depth {
            0 => String::new(),
            depth => format!("[{}]\n", self.path[..depth].join(".")),
        };
        let line = "field = 0\n";
        let span = header.len()..header.len() + line.len();
        RunConfigError::Override {
            text: self.text.clone(),
            message: explain(message, &format!("{header}{line}"), span),
        }
    }
}

/// Reads a TOML file as `T` with some of its fields replaced.
///
/// What is wrong in the file is said with its place there; what is wrong only with an override
/// names the first one that is.
///
/// `defaults` are fields of sections that the file may leave out.
pub(super) fn read_with<T: DeserializeOwned>(
    path: &Path,
    defaults: &Table,
    overrides: &[Override],
) -> Result<T, RunConfigError> {
    parse_with(&read_text(path)?, path, defaults, overrides)
}

/// As [`read_with`], for TOML text that `path` only names.
pub(super) fn parse_with<T: DeserializeOwned>(
    text: &str,
    path: &Path,
    defaults: &Table,
    overrides: &[Override],
) -> Result<T, RunConfigError> {
    let mut tree: Table = parse_document(text, path)?;
    fill_in(&mut tree, defaults);
    let bare = tree.clone();
    let mut tree = tree_of(tree);
    for replaced in overrides {
        replaced.apply(&mut tree)?;
    }
    let message = match T::deserialize(Node::Table(tree)) {
        Ok(config) => return Ok(config),
        Err(error) => one_line(error.message()),
    };
    // The file alone may be what is wrong, and says it better.
    let bare_is_right = T::deserialize(Value::Table(bare.clone())).is_ok();
    if !bare_is_right {
        parse_document::<T>(text, path)?;
    }
    let mut tree = tree_of(bare);
    for replaced in overrides {
        replaced.apply(&mut tree)?;
        if let Err(error) = T::deserialize(Node::Table(tree.clone())) {
            return Err(replaced.explain(&one_line(error.message())));
        }
    }
    Err(RunConfigError::Override {
        text: overrides
            .iter()
            .map(|replaced| replaced.text.as_str())
            .collect::<Vec<_>>()
            .join(" --set "),
        message,
    })
}

/// Gives the sections of `tree` the fields of `defaults` that they do not have.
fn fill_in(tree: &mut Table, defaults: &Table) {
    for (section, fields) in defaults {
        match (tree.get_mut(section), fields) {
            (Some(Value::Table(table)), Value::Table(fields)) => {
                for (field, value) in fields {
                    table.entry(field.clone()).or_insert_with(|| value.clone());
                }
            }
            (Some(_), _) => {}
            (None, _) => {
                tree.insert(section.clone(), fields.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RunConfig;
    use crate::schedule::Decay;
    use proptest::prelude::*;

    const MODEL: &str = "[model]\ncontext = 8\nlayers = 1\nwidth = 8\n\
                         attention = { kind = \"mha\", heads = 2, head_dim = 4 }\n";

    fn read(text: &str, sets: &[&str]) -> Result<RunConfig, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).expect("a small file");
        let overrides: Vec<Override> = sets
            .iter()
            .map(|set| set.parse().expect("a field and a value"))
            .collect();
        RunConfig::from_file_with(&path, &overrides).map_err(|error| {
            let prefix = format!("{}/", folder.path().display());
            error.to_string().replace(&prefix, "")
        })
    }

    #[test]
    fn fields_of_every_depth_and_type_are_replaced() {
        let config = read(
            MODEL,
            &[
                "seed=7",
                "train.learning_rate=1e-3",
                "train.decay=wsd",
                "data.source = text/my books",
                "model.attention.heads=1",
                "model.tied=true",
                "train.steps=5",
                "train.steps=6",
            ],
        )
        .expect("known fields");
        assert_eq!(config.seed, 7);
        assert_eq!(config.train.learning_rate, 1e-3);
        assert_eq!(config.train.decay, Decay::Wsd);
        assert_eq!(config.data.source, "text/my books");
        assert!(config.model.tied);
        assert_eq!(config.train.steps, 6, "the last one holds");
        let whole = read(
            MODEL,
            &["model.attention={ kind = \"mqa\", heads = 2, head_dim = 4 }"],
        );
        assert_eq!(whole.expect("a whole table").model.attention.name(), "mqa");
    }

    #[test]
    fn a_field_of_text_takes_the_text_literally() {
        for text in [
            "2024",
            "true",
            "1e3",
            "-7",
            "0x10",
            "inf",
            "nan",
            "2024-11-27",
            "07:32:00",
            "[x]",
            "[1, 2]",
            "[\"a\"]",
            "{ a = 1 }",
            "2024 # x",
            "\"a\" # b",
            "a\"b",
            "it's",
            "text/my books",
            "01",
            "1_000",
            "=",
        ] {
            let config = read(MODEL, &[&format!("data.source={text}")]);
            assert_eq!(config.expect("any path").data.source, text);
            let config = read(MODEL, &[&format!("data.tokenizer={text}")]);
            let tokenizer = config.expect("any path").data.tokenizer;
            assert_eq!(tokenizer.to_string(), text);
        }
        for quoted in ["\"2024\"", "'2024'"] {
            let config = read(MODEL, &[&format!("data.source={quoted}")]);
            assert_eq!(config.expect("a string").data.source, "2024");
        }
        let several = "data.sources=[{ path = \"2024\" }, { path = \"b\", weight = 2 }]";
        let sources = read(MODEL, &[several]).expect("an array").data.sources;
        assert_eq!((sources[0].path.as_str(), sources[1].weight), ("2024", 2.0));
        let decay = read(MODEL, &["train.decay=true"]).expect_err("no such decay");
        assert!(decay.contains("unknown value `true`"), "{decay}");
        let both = [
            "model.attention={ kind = \"mqa\", heads = 2, head_dim = 4 }",
            "model.attention.heads=4",
        ];
        assert_eq!(
            read(MODEL, &both).expect("a table").model.attention.name(),
            "mqa"
        );
    }

    #[test]
    fn each_defect_is_one_line_as_in_a_file() {
        let table: [(&[&str], &str); 9] = [
            (
                &["train.learning_rat=1"],
                "--set train.learning_rat=1: unknown field `learning_rat` in [train], \
                 did you mean `learning_rate`?",
            ),
            (
                &["trian.steps=1"],
                "--set trian.steps=1: unknown field `trian`, did you mean `train`?",
            ),
            (&["model.attention.head_dm=3"], "did you mean `head_dim`?"),
            (
                &["train.steps=many"],
                "--set train.steps=many: invalid type: string \"many\", expected u64",
            ),
            (
                &["seed=1", "train.decay=cosin"],
                "--set train.decay=cosin: unknown value `cosin` in [train], did you mean `cosine`?",
            ),
            (
                &["train.steps.more=1", "seed=2"],
                "--set train.steps.more=1:",
            ),
            (&["seed.more=1"], "--set seed.more=1:"),
            (
                &["train.steps=0"],
                "run.toml: train.steps is 0, but must be 1 to 2^40",
            ),
            (&["model.attention=5"], "--set model.attention=5:"),
        ];
        for (sets, expected) in table {
            let error = read(MODEL, sets).expect_err("a defect");
            assert!(error.contains(expected), "{sets:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        let in_file = read(&MODEL.replace("layers", "layrs"), &["seed=1"]);
        assert_eq!(
            in_file.expect_err("a defect"),
            "run.toml:3:1: unknown field `layrs` in [model], did you mean `layers`?"
        );
        let missing = MODEL.replace("context = 8\n", "");
        assert!(read(&missing, &["model.context=8"]).is_ok());
    }

    proptest! {
        #[test]
        fn any_override_is_used_or_refused_in_one_line(text: String) {
            let error = match text.parse::<Override>() {
                Ok(replaced) => {
                    let mut tree = tree_of(toml::from_str(MODEL).expect("a right file"));
                    replaced.apply(&mut tree).err()
                }
                Err(error) => Some(error),
            };
            if let Some(error) = error {
                prop_assert!(error.to_string().starts_with("--set "));
            }
        }
    }
}
