//! How likely tokens were, as the model alone says: before temperature, penalties and bias.

/// A token and the logarithm of its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub id: u32,
    /// Its log-probability in nats.
    pub logprob: f32,
}

/// A token that came, and the likeliest ones at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// The token that came.
    pub chosen: TokenLogprob,
    /// The likeliest, the likeliest first; of equals the smaller id.
    pub top: Vec<TokenLogprob>,
}

impl Logprobs {
    /// Those of `id` where the model gave `logits`, with the `count` likeliest.
    pub fn of(logits: &[f32], id: u32, count: usize) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let terms = logits
            .iter()
            .map(|&logit| f64::from((logit - largest).exp()));
        let logarithm = terms.sum::<f64>().ln();
        let logprob = |id: u32| TokenLogprob {
            id,
            logprob: (f64::from(logits[id as usize] - largest) - logarithm) as f32,
        };
        Self {
            chosen: logprob(id),
            top: likeliest_ids(logits, count)
                .into_iter()
                .map(logprob)
                .collect(),
        }
    }
}

/// The ids of the `count` largest logits, the largest first; of equals the smaller id.
fn likeliest_ids(logits: &[f32], count: usize) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::with_capacity(count + 1);
    if count == 0 {
        return found;
    }
    for (id, logit) in logits.iter().enumerate() {
        let worst = found.last().map(|&last| logits[last as usize]);
        if found.len() == count && worst.is_some_and(|worst| *logit <= worst) {
            continue;
        }
        let place = found.partition_point(|&other| logits[other as usize] >= *logit);
        found.insert(place, id as u32);
        found.truncate(count);
    }
    found
}
