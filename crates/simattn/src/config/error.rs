use thiserror::Error;

/// A model configuration that describes no model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ModelConfigError {
    /// A value outside what is allowed.
    #[error("{field} = {value} is not possible: it must be {allowed}")]
    OutOfRange {
        /// Path of the field, as in a TOML file.
        field: &'static str,
        /// What was given.
        value: String,
        /// What would be accepted.
        allowed: String,
    },
    /// A count that must divide another and does not.
    #[error("{field} = {value} must be a multiple of {of} = {divisor}")]
    NotAMultiple {
        /// Path of the field that must be a multiple.
        field: &'static str,
        /// Its value.
        value: usize,
        /// Path of the field that must divide it.
        of: &'static str,
        /// Its value.
        divisor: usize,
    },
    /// Two fields that contradict each other.
    #[error("{field} = {value} contradicts {other}: {why}")]
    Contradiction {
        /// Path of the first field.
        field: &'static str,
        /// Its value.
        value: String,
        /// The second field and its value.
        other: String,
        /// Why both cannot hold.
        why: &'static str,
    },
    /// The vocabulary is still 0 where a model must be built.
    #[error("model.vocabulary is 0: set it, or give a tokenizer to take it from")]
    NoVocabulary,
}

/// Largest size of a single dimension that is taken for intended.
const LARGEST: usize = 1 << 20;

pub(super) fn at_least_one(field: &'static str, value: usize) -> Result<(), ModelConfigError> {
    if value == 0 {
        return Err(ModelConfigError::OutOfRange {
            field,
            value: value.to_string(),
            allowed: "at least 1".into(),
        });
    }
    Ok(())
}

pub(super) fn dimension(field: &'static str, value: usize) -> Result<(), ModelConfigError> {
    at_least_one(field, value)?;
    if value > LARGEST {
        return Err(ModelConfigError::OutOfRange {
            field,
            value: value.to_string(),
            allowed: format!("at most {LARGEST}"),
        });
    }
    Ok(())
}

pub(super) fn even(field: &'static str, value: usize) -> Result<(), ModelConfigError> {
    dimension(field, value)?;
    if !value.is_multiple_of(2) {
        return Err(ModelConfigError::OutOfRange {
            field,
            value: value.to_string(),
            allowed: "even, because rotary embeddings turn features in pairs".into(),
        });
    }
    Ok(())
}

pub(super) fn multiple(
    field: &'static str,
    value: usize,
    of: &'static str,
    divisor: usize,
) -> Result<(), ModelConfigError> {
    if !value.is_multiple_of(divisor) {
        return Err(ModelConfigError::NotAMultiple {
            field,
            value,
            of,
            divisor,
        });
    }
    Ok(())
}

pub(super) fn positive(field: &'static str, value: f64) -> Result<(), ModelConfigError> {
    if !(value > 0.0 && value.is_finite()) {
        return Err(ModelConfigError::OutOfRange {
            field,
            value: value.to_string(),
            allowed: "positive and finite".into(),
        });
    }
    Ok(())
}
