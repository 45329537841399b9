use burn::tensor::{Int, Tensor, TensorData};
use thiserror::Error;

use crate::config::ModelConfig;
use crate::decoder::Decoder;
use crate::decoding::{DecodeError, Logits, Running};

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
    /// Tokens that a cache cannot take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
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
/// The plain definition: every token is computed from the whole text before it, on the model's
/// device.
///
/// # Errors
/// An empty prompt, an unknown id, or more tokens than the model's context holds;
/// [`GenerateError::NotFinite`] where scores are NaN or infinite.
pub fn greedy(
    model: &Decoder,
    prompt: &[u32],
    count: usize,
    ends: impl IntoIterator<Item = u32>,
    seen: impl FnMut(u32),
) -> Result<Vec<u32>, GenerateError> {
    check(model.config(), prompt, count)?;
    let device = model.embedding.val().device();
    let mut ids: Vec<i32> = prompt.iter().map(|&id| id as i32).collect();
    let scores = |new: Option<u32>| {
        ids.extend(new.map(|id| id as i32));
        let data = TensorData::new(ids.clone(), [1, ids.len()]);
        let scores = model.next_logits(Tensor::<2, Int>::from_data(data, &device));
        Ok(scores.into_data().iter::<f32>().collect())
    };
    likeliest_of(scores, prompt.len(), count, ends, seen)
}

/// The same on a cache: every token is computed once.
///
/// # Errors
/// As [`greedy`].
pub fn greedy_on_cache(
    model: &Running,
    prompt: &[u32],
    count: usize,
    ends: impl IntoIterator<Item = u32>,
    seen: impl FnMut(u32),
) -> Result<Vec<u32>, GenerateError> {
    check(model.config(), prompt, count)?;
    let mut text = model.start();
    let scores = |new: Option<u32>| match new {
        None => model.extend(&mut text, prompt, Logits::Last),
        Some(id) => model.step(&mut [&mut text], &[id]),
    };
    likeliest_of(scores, prompt.len(), count, ends, seen)
}

/// Refuses what cannot be continued.
fn check(config: &ModelConfig, prompt: &[u32], count: usize) -> Result<(), GenerateError> {
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
    Ok(())
}

/// The likeliest token again and again, out of the scores behind the prompt and then behind each
/// new token.
fn likeliest_of(
    mut scores: impl FnMut(Option<u32>) -> Result<Vec<f32>, DecodeError>,
    prompt: usize,
    count: usize,
    ends: impl IntoIterator<Item = u32>,
    mut seen: impl FnMut(u32),
) -> Result<Vec<u32>, GenerateError> {
    let ends: Vec<u32> = ends.into_iter().collect();
    let mut new = Vec::with_capacity(count);
    while new.len() < count {
        let scores = scores(new.last().copied())?;
        if !scores.iter().all(|score| score.is_finite()) {
            let tokens = prompt + new.len();
            return Err(GenerateError::NotFinite { tokens });
        }
        let next = likeliest(&scores);
        if ends.contains(&next) {
            break;
        }
        seen(next);
        new.push(next);
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
