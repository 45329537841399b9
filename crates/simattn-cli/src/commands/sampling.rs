//! How tokens are chosen: options of `generate` and `chat`.

use clap::Args;
use simattn_serve::sampling::Sampling;
use simattn_serve::text::Stops;

use crate::error::{CliError, input};

/// Options of sampling.
#[derive(Clone, Debug, Args)]
pub(crate) struct SamplingArgs {
    /// What scores are divided by; 0 takes the likeliest token.
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Keep this many of the likeliest tokens; 0 keeps all.
    #[arg(long, value_name = "N")]
    pub top_k: Option<usize>,
    /// Keep the likeliest tokens until their probabilities reach this.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub top_p: Option<f64>,
    /// Keep tokens at least this share as likely as the likeliest.
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    pub min_p: Option<f64>,
    /// Above 1, makes tokens less likely that were there before.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 1.0,
        allow_negative_numbers = true
    )]
    pub repetition_penalty: f64,
    /// Taken from a token's score for every time that the answer has it.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub frequency_penalty: f64,
    /// Taken from the scores of tokens that the answer has.
    #[arg(
        long,
        value_name = "X",
        default_value_t = 0.0,
        allow_negative_numbers = true
    )]
    pub presence_penalty: f64,
    /// The same seed gives the same answer.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// A text at which the answer ends; may be given several times.
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
}

impl SamplingArgs {
    /// Whether an option is there that only drawing heeds.
    pub(crate) fn asks_to_draw(&self) -> bool {
        self.top_k.is_some() || self.top_p.is_some() || self.min_p.is_some() || self.seed.is_some()
    }

    /// What they say, with this temperature where they do not.
    pub(crate) fn sampling(
        &self,
        temperature: f64,
        vocabulary: usize,
    ) -> Result<Sampling, CliError> {
        let plain = Sampling::default();
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(temperature),
            top_k: self.top_k.unwrap_or(plain.top_k),
            top_p: self.top_p.unwrap_or(plain.top_p),
            min_p: self.min_p.unwrap_or(plain.min_p),
            repetition_penalty: self.repetition_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            seed: self.seed.unwrap_or(plain.seed),
            ..plain
        };
        sampling.validate(vocabulary).map_err(input)?;
        Ok(sampling)
    }

    /// The texts at which an answer ends.
    pub(crate) fn stops(&self) -> Result<Stops, CliError> {
        Stops::new(self.stop.clone()).map_err(input)
    }
}
