use thiserror::Error;

use crate::config::ModelConfig;

/// Tokens that a sequence cannot take.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// An id that the model has no row for.
    #[error("token id {id} is not one of the model's {vocabulary}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Ids that the model has.
        vocabulary: usize,
    },
    /// More tokens than the model's context holds.
    #[error("{held} tokens and {more} more do not fit the model's context of {context}")]
    Full {
        /// Tokens of the sequence.
        held: usize,
        /// Tokens that were to follow.
        more: usize,
        /// The model's context.
        context: usize,
    },
}

/// Whether a sequence that holds `held` tokens can take `ids`.
pub(super) fn check(config: &ModelConfig, held: usize, ids: &[u32]) -> Result<(), DecodeError> {
    let ModelConfig {
        vocabulary,
        context,
        ..
    } = *config;
    if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        return Err(DecodeError::UnknownToken { id, vocabulary });
    }
    if held.saturating_add(ids.len()) > context {
        return Err(DecodeError::Full {
            held,
            more: ids.len(),
            context,
        });
    }
    Ok(())
}
