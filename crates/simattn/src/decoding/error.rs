use thiserror::Error;

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
