//! What can stop a run, one line each.

use simattn_data::DataError;

/// Why a run could not start or go on. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The text or its tokens cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model cannot be built.
    #[error(transparent)]
    Model(#[from] simattn::ModelConfigError),
    /// The model has fewer ids than the tokenizer.
    #[error(
        "model.vocabulary is {vocabulary}, but the tokenizer has {needed} ids; \
         set it to 0 to take it from the tokenizer"
    )]
    SmallVocabulary {
        /// What the configuration says.
        vocabulary: usize,
        /// What the tokenizer needs.
        needed: usize,
    },
    /// The loss of a micro-batch is NaN or infinite. The weights are those before this step.
    #[error(
        "step {step}: the loss is {loss}, first seen in {origin}, at learning rate {learning_rate:.1e}; \
         lower train.learning_rate, lengthen train.warmup_steps or lower train.clip"
    )]
    NonFiniteLoss {
        /// The update that was under way, from 1.
        step: u64,
        /// The loss.
        loss: f64,
        /// The tensor where the trouble shows first.
        origin: Origin,
        /// The learning rate of the update.
        learning_rate: f64,
    },
    /// The loss of an evaluation is NaN or infinite.
    #[error(
        "step {step}: the validation loss is {loss}, first seen in {origin}; \
         lower train.learning_rate, lengthen train.warmup_steps or lower train.clip"
    )]
    NonFiniteEvaluation {
        /// Updates made before it.
        step: u64,
        /// The loss.
        loss: f64,
        /// The tensor where the trouble shows first.
        origin: Origin,
    },
    /// What would be saved is NaN or infinite.
    #[error(
        "step {step}: {tensor} is not finite, so nothing is saved of it; \
         lower train.learning_rate, lengthen train.warmup_steps or lower train.clip"
    )]
    NonFiniteState {
        /// Updates made.
        step: u64,
        /// The weight, or the optimiser's tensor, that is.
        tensor: String,
    },
    /// What is wrong shows on another rank, which says it.
    #[error("rank {rank} says what is wrong")]
    OnRank {
        /// Which one.
        rank: usize,
    },
    /// A gradient is NaN or infinite. The weights are those before this step.
    #[error(
        "step {step}: the gradient of {tensor} is not finite, at learning rate {learning_rate:.1e}; \
         lower train.learning_rate, lengthen train.warmup_steps or lower train.clip"
    )]
    NonFiniteGradient {
        /// The update that was under way, from 1.
        step: u64,
        /// The first such parameter, in the model's order.
        tensor: String,
        /// The learning rate of the update.
        learning_rate: f64,
    },
}

/// The first tensor, in the model's order, that explains a loss that is not finite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A weight holds NaN or infinity.
    Weight(String),
    /// All weights are finite; this gradient is not.
    Gradient(String),
    /// Weights and gradients are all finite: the activations overflowed.
    Activations,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Weight(name) => write!(formatter, "the weights of {name}"),
            Self::Gradient(name) => write!(formatter, "the gradient of {name}"),
            Self::Activations => formatter.write_str("the activations"),
        }
    }
}
