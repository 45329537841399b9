//! Fields of a `config.json` that say nothing about the function, at the values at which they say
//! nothing: `harmless.tsv`, one a line, with the meaning and a model that has it.

use serde_json::Value;

/// field, families (`model_type`s or `all`), value, meaning, model; the first line names them.
const TABLE: &str = include_str!("harmless.tsv");

/// What the table says of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harmless {
    /// It says nothing at any value of a kind, or at this value.
    At(&'static str),
    /// The table does not have it for this family.
    Unknown,
}

impl Harmless {
    /// The table's line for `field` in a model of `family`.
    pub(super) fn of(family: &str, field: &str) -> Self {
        let value = TABLE.lines().skip(1).find_map(|line| {
            let mut row = line.split('\t');
            let (name, families) = (row.next()?, row.next()?);
            let meant = families == "all" || families.split(' ').any(|other| other == family);
            (name == field && meant).then(|| row.next())?
        });
        value.map_or(Self::Unknown, Self::At)
    }

    /// Whether the field may have this value.
    pub(super) fn allows(self, value: &Value) -> bool {
        match self {
            Self::Unknown => false,
            Self::At("any") => true,
            Self::At("flag") => value.is_boolean(),
            Self::At("number") => value.is_number(),
            Self::At("count") => value.is_u64(),
            Self::At("text") => value.is_string(),
            Self::At("object") => value.is_object(),
            Self::At(literal) => equals(value, literal),
        }
    }
}

/// Whether a value is a literal's; numbers by their size, 1 being 1.0.
fn equals(value: &Value, literal: &str) -> bool {
    let Ok(literal) = serde_json::from_str::<Value>(literal) else {
        return false;
    };
    match (value.as_f64(), literal.as_f64()) {
        (Some(a), Some(b)) => a == b,
        _ => *value == literal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_can_be_read() {
        let kinds = ["any", "flag", "number", "count", "text", "object"];
        let mut seen = std::collections::BTreeSet::new();
        for line in TABLE.lines().skip(1) {
            let row: Vec<&str> = line.split('\t').collect();
            assert_eq!(row.len(), 5, "{line}");
            assert!(row.iter().all(|cell| !cell.trim().is_empty()), "{line}");
            let literal = serde_json::from_str::<Value>(row[2]);
            assert!(kinds.contains(&row[2]) || literal.is_ok(), "{line}");
            for family in row[1].split(' ') {
                let known = [
                    "all", "llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gpt2",
                ];
                assert!(known.contains(&family), "{line}");
                assert!(seen.insert((row[0], family)), "twice: {line}");
                assert!(
                    !seen.contains(&(row[0], "all")) || family == "all",
                    "{line}"
                );
            }
        }
    }
}
