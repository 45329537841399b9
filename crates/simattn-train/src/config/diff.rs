//! What differs between two configurations, field by field.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use toml::{Table, Value};

use super::RunConfig;
use crate::ranks::Fact;

/// A field that two configurations do not agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The field with its sections: `train.steps`.
    pub field: String,
    /// Its value before; `None` where it was absent.
    pub before: Option<String>,
    /// Its value now; `None` where it is absent.
    pub now: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "absent".to_owned());
        write!(
            formatter,
            "{}: {} -> {}",
            self.field,
            side(&self.before),
            side(&self.now)
        )
    }
}

/// The fields in which `now` differs from `before`, sorted by name. Equal trees give none.
///
/// A value that has no TOML form counts as absent on its side.
pub fn changes<T: Serialize>(before: &T, now: &T) -> Vec<Change> {
    let (before, now) = (fields(before), fields(now));
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != now.get(*name))
        .map(|name| Change {
            field: name.clone(),
            before: before.get(name).cloned(),
            now: now.get(name).cloned(),
        })
        .collect()
}

impl RunConfig {
    /// Every field with its value.
    pub fn facts(&self) -> Vec<Fact> {
        let fields = fields(self).into_iter();
        fields.map(|(name, value)| Fact::new(name, value)).collect()
    }
}

/// Every value of a tree with the path that leads to it.
fn fields<T: Serialize>(tree: &T) -> BTreeMap<String, String> {
    fn collect(prefix: &str, table: &Table, found: &mut BTreeMap<String, String>) {
        for (key, value) in table {
            let name = match prefix {
                "" => key.clone(),
                prefix => format!("{prefix}.{key}"),
            };
            match value {
                Value::Table(inner) => collect(&name, inner, found),
                value => {
                    found.insert(name, value.to_string());
                }
            }
        }
    }
    let mut found = BTreeMap::new();
    if let Ok(table) = Table::try_from(tree) {
        collect("", &table, &mut found);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RunConfig, parse_document};

    fn config(text: &str) -> RunConfig {
        let model = "[model]\ncontext = 8\nlayers = 1\nwidth = 8\n\
                     attention = { kind = \"mha\", heads = 2, head_dim = 4 }\n";
        parse_document(&format!("{text}{model}"), "run.toml".as_ref()).expect("a right file")
    }

    #[test]
    fn every_difference_is_named_with_both_values() {
        let before = config("");
        assert_eq!(changes(&before, &before), []);
        let mut now = before.clone();
        now.seed = 3;
        now.train.learning_rate = 1e-3;
        now.train.warmup_steps = Some(5);
        now.model.context = 16;
        let lines: Vec<String> = changes(&before, &now)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                "model.context: 8 -> 16",
                "seed: 0 -> 3",
                "train.learning_rate: 0.0006 -> 0.001",
                "train.warmup_steps: absent -> 5",
            ]
        );
    }
}
