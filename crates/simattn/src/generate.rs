use burn::tensor::{Int, Tensor, TensorData};
use thiserror::Error;

use crate::decoder::Decoder;

/// A continuation that was asked for and cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// There is nothing to continue.
    #[error("the prompt is empty: give at least one token")]
    Empty,
    /// An id that the model has no row for.
    #[error("token id {id} is not one of the model's {vocabulary}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Ids that the model has.
        vocabulary: usize,
    },
    /// Prompt and continuation do not fit the model's context.
    #[error(
        "{prompt} tokens of prompt and {asked} more do not fit the model's context of {context}"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens asked for.
        asked: usize,
        /// The model's context.
        context: usize,
    },
    /// The model's scores are no numbers.
    #[error(
        "after {tokens} tokens the model's scores are not finite, although its weights are: its \
         activations overflow, and nothing can be chosen"
    )]
    NotFinite {
        /// Tokens before the place.
        tokens: usize,
    },
}

/// Continues `prompt` by the likeliest token, `count` times or until one of `ends` comes, which is
/// not returned. Of equals the smallest id is taken. `seen` is called with every token as it comes.
///
/// The plain definition: every token is computed from the whole text before it.
///
/// # Errors
/// An empty prompt, an unknown id, or more tokens than the model's context holds;
/// [`GenerateError::NotFinite`] where scores are NaN or infinite.
pub fn greedy(
    model: &Decoder,
    prompt: &[u32],
    count: usize,
    ends: impl IntoIterator<Item = u32>,
    mut seen: impl FnMut(u32),
) -> Result<Vec<u32>, GenerateError> {
    let ends: Vec<u32> = ends.into_iter().collect();
    let config = model.config();
    if prompt.is_empty() {
        return Err(GenerateError::Empty);
    }
    let unknown = |id: &&u32| **id as usize >= config.vocabulary;
    if let Some(&id) = prompt.iter().find(unknown) {
        return Err(GenerateError::UnknownToken {
            id,
            vocabulary: config.vocabulary,
        });
    }
    if prompt.len().saturating_add(count) > config.context {
        return Err(GenerateError::TooLong {
            prompt: prompt.len(),
            asked: count,
            context: config.context,
        });
    }
    let device = model.embedding.val().device();
    let mut ids: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
    let mut new = Vec::with_capacity(count);
    while new.len() < count {
        let data = TensorData::new(ids.clone(), [1, ids.len()]);
        let scores = model.next_logits(Tensor::<2, Int>::from_data(data, &device));
        let scores: Vec<f32> = scores.into_data().iter::<f32>().collect();
        if !scores.iter().all(|score| score.is_finite()) {
            return Err(GenerateError::NotFinite { tokens: ids.len() });
        }
        let next = likeliest(&scores);
        if ends.contains(&next) {
            break;
        }
        seen(next);
        new.push(next);
        ids.push(next as i32);
    }
    Ok(new)
}

/// The first place of the largest score.
fn likeliest(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (place, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = place;
        }
    }
    best as u32
}
