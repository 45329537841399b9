//! A variant in words: `sas:kernel_size=1,expand_features=false`.

use std::str::FromStr;

use simattn::AttentionConfig;
use thiserror::Error;
use toml::{Table, Value};

/// The variants there are, in the order of tables.
pub(crate) const VARIANTS: [&str; 8] = ["mha", "gqa", "mqa", "mla", "mfa", "tpa", "sas", SAS_LIGHT];

/// SAS with the heads doubled and without the wider q and k: of its forms the one that needed the
/// least time (`docs/results.md`, C).
pub(crate) const SAS_LIGHT: &str = "sas-light";

/// What is wrong with a description. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum DescriptionError {
    /// A name that is no variant.
    #[error("--variant: no variant is called `{name}`; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All that there are.
        known: String,
    },
    /// A description that its kind of attention does not have.
    #[error("--variant {description}: {why}")]
    Described {
        /// What was asked for.
        description: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A kind of attention, and the fields of its configuration that someone fixed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Description {
    kind: String,
    fields: Vec<(String, Value)>,
}

impl FromStr for Description {
    type Err = DescriptionError;

    fn from_str(text: &str) -> Result<Self, DescriptionError> {
        let malformed = |why: String| DescriptionError::Described {
            description: text.to_owned(),
            why,
        };
        let (kind, rest) = match text.split_once(':') {
            Some((kind, rest)) => (kind.trim(), Some(rest)),
            None => (text.trim(), None),
        };
        if !VARIANTS.contains(&kind) {
            return Err(DescriptionError::Unknown {
                name: kind.to_owned(),
                known: VARIANTS.join(", "),
            });
        }
        let mut fields: Vec<(String, Value)> = Vec::new();
        for field in rest.map(|rest| rest.split(',')).into_iter().flatten() {
            let (name, value) = field.split_once('=').ok_or_else(|| {
                malformed("give fields and values, such as sas:kernel_size=1".to_owned())
            })?;
            let name = name.trim();
            if name.is_empty() || name == "kind" {
                return Err(malformed(format!("`{name}` is not a field to set")));
            }
            if fields.iter().any(|(known, _)| known == name) {
                return Err(malformed(format!("{name} is given twice")));
            }
            fields.push((name.to_owned(), value_of(value.trim())));
        }
        Ok(Self {
            kind: kind.to_owned(),
            fields,
        })
    }
}

/// A number or a boolean as such, everything else as text.
fn value_of(text: &str) -> Value {
    if let Ok(number) = text.parse::<i64>() {
        return Value::Integer(number);
    }
    match (text.parse::<f64>(), text.parse::<bool>()) {
        (Ok(number), _) if number.is_finite() => Value::Float(number),
        (_, Ok(truth)) => Value::Boolean(truth),
        _ => Value::String(text.to_owned()),
    }
}

impl Description {
    /// The kind alone, one of [`VARIANTS`].
    pub(crate) fn kind(&self) -> &str {
        &self.kind
    }

    /// The name that results know it by: the description in its shortest spelling.
    pub(crate) fn name(&self) -> String {
        let fields: Vec<String> = self
            .fields
            .iter()
            .map(|(field, value)| format!("{field}={}", plain(value)))
            .collect();
        if fields.is_empty() {
            self.kind.clone()
        } else {
            format!("{}:{}", self.kind, fields.join(","))
        }
    }

    /// The name that readers see: the kind, then what differs, in the field's symbols.
    pub(crate) fn label(&self) -> String {
        let kind = match self.kind.as_str() {
            SAS_LIGHT => "SAS light".to_owned(),
            kind => kind.to_uppercase(),
        };
        let differences: Vec<String> = self
            .fields
            .iter()
            .map(|(field, value)| difference(field, &plain(value)))
            .collect();
        if differences.is_empty() {
            kind
        } else {
            format!("{kind} {}", differences.join(", "))
        }
    }

    /// Whether `field` is fixed.
    pub(crate) fn fixes(&self, field: &str) -> bool {
        self.fields.iter().any(|(known, _)| known == field)
    }

    /// `attention` with the fixed fields in place of its own, and with what follows from a stage
    /// that is switched off: without the expansion of heads H' = H, without that of features D' =
    /// D.
    ///
    /// # Errors
    /// [`DescriptionError::Described`] for a field that this kind does not have, or a value that
    /// does not suit it.
    pub(crate) fn applied_to(
        &self,
        attention: AttentionConfig,
    ) -> Result<AttentionConfig, DescriptionError> {
        let described = |why: String| DescriptionError::Described {
            description: self.name(),
            why,
        };
        let mut table =
            Table::try_from(&attention).map_err(|error| described(error.to_string()))?;
        for (field, value) in &self.fields {
            let is_number = table.get(field).is_some_and(Value::is_float);
            let value = match value {
                // 10000 for a field that holds 10000.0
                Value::Integer(whole) if is_number => Value::Float(*whole as f64),
                other => other.clone(),
            };
            table.insert(field.clone(), value);
        }
        for (stage, follower, origin) in [
            ("expand_heads", "expanded_heads", "heads"),
            ("expand_features", "expanded_head_dim", "head_dim"),
        ] {
            let is_off = table.get(stage).and_then(Value::as_bool) == Some(false);
            if is_off && !self.fixes(follower) {
                let Some(value) = table.get(origin).cloned() else {
                    continue;
                };
                table.insert(follower.to_owned(), value);
            }
        }
        table.try_into().map_err(|error: toml::de::Error| {
            described(
                error
                    .message()
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        })
    }
}

/// A value without TOML's quotes.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A fixed field in few words.
fn difference(field: &str, value: &str) -> String {
    let symbol = match (field, value) {
        ("expand_heads", "false") => return "features only".to_owned(),
        ("expand_features", "false") => return "heads only".to_owned(),
        ("residual", "false") => return "no residual".to_owned(),
        ("relu", "false") => return "no ReLU".to_owned(),
        ("aggregation", "full") => return "full projection".to_owned(),
        ("rope", "none") => return "no positions".to_owned(),
        ("rope", place) => return format!("rotary {place}"),
        ("kernel_size", _) => "κ",
        ("heads", _) => "H",
        ("expanded_heads", _) => "H′",
        ("head_dim", _) => "D",
        ("expanded_head_dim", _) => "D′",
        ("kv_heads", _) => "G",
        (other, _) => return format!("{} {value}", other.replace('_', " ")),
    };
    format!("{symbol} {value}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use simattn::{RopePlacement, SasConfig};

    fn described(text: &str) -> Result<AttentionConfig, String> {
        let base = AttentionConfig::Sas(SasConfig {
            heads: 4,
            kv_heads: None,
            head_dim: 64,
            expanded_heads: 12,
            expanded_head_dim: 96,
            kernel_size: 5,
            expand_heads: true,
            expand_features: true,
            residual: true,
            relu: true,
            aggregation: Default::default(),
            rope: Default::default(),
            rope_base: 10_000.0,
            rotary_dim: None,
        });
        let description: Description = text.parse().map_err(|e: DescriptionError| e.to_string())?;
        description.applied_to(base).map_err(|e| e.to_string())
    }

    #[test]
    fn fixed_fields_replace_the_derived_ones() {
        let AttentionConfig::Sas(sas) =
            described("sas:kernel_size=1, expanded_heads=8,rope=before,rope_base=500,relu=false")
                .unwrap()
        else {
            panic!("another kind");
        };
        assert_eq!(
            (sas.kernel_size, sas.expanded_heads, sas.relu),
            (1, 8, false)
        );
        assert_eq!((sas.rope, sas.rope_base), (RopePlacement::Before, 500.0));
        assert_eq!(sas.expanded_head_dim, 96, "what is not named stays");
    }

    #[test]
    fn a_stage_that_is_off_sets_what_follows_from_it() {
        let AttentionConfig::Sas(heads) = described("sas:expand_features=false").unwrap() else {
            panic!("another kind");
        };
        assert_eq!((heads.expanded_heads, heads.expanded_head_dim), (12, 64));
        let AttentionConfig::Sas(features) = described("sas:expand_heads=false").unwrap() else {
            panic!("another kind");
        };
        assert_eq!(
            (features.expanded_heads, features.expanded_head_dim),
            (4, 96)
        );
        // Named against the switch: kept, for the configuration's own check to refuse.
        let AttentionConfig::Sas(both) =
            described("sas:expand_features=false,expanded_head_dim=80").unwrap()
        else {
            panic!("another kind");
        };
        assert_eq!(both.expanded_head_dim, 80);
    }

    #[test]
    fn what_is_wrong_with_a_description_is_one_line() {
        for (text, expected) in [
            ("sos", "no variant is called `sos`"),
            ("sas:", "give fields and values"),
            ("sas:kernel_size", "give fields and values"),
            ("sas:=3", "not a field to set"),
            ("sas:kind=mha", "not a field to set"),
            ("sas:relu=false,relu=true", "relu is given twice"),
            ("sas:kernal_size=3", "unknown field `kernal_size`"),
            ("sas:kernel_size=many", "invalid type"),
            ("sas:kernel_size=-1", "invalid value"),
            ("sas:rope=sideways", "unknown variant `sideways`"),
        ] {
            let error = described(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }

    #[test]
    fn labels_say_what_differs() {
        let label = |text: &str| text.parse::<Description>().unwrap().label();
        assert_eq!(label("mha"), "MHA");
        assert_eq!(label("sas-light:kernel_size=3"), "SAS light κ 3");
        assert_eq!(label("gqa:kv_heads=2"), "GQA G 2");
        assert_eq!(label("sas:kernel_size=1,expanded_heads=8"), "SAS κ 1, H′ 8");
        assert_eq!(
            label("sas:expand_features=false,expanded_heads=8,aggregation=full"),
            "SAS heads only, H′ 8, full projection"
        );
        assert_eq!(label("mla:kv_rank=32"), "MLA kv rank 32");
        let name = " sas : kernel_size = 1 ".parse::<Description>();
        assert_eq!(name.unwrap().name(), "sas:kernel_size=1");
    }
}
