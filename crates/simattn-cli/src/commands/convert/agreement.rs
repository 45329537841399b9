//! `simattn convert verify`: how far two models' scores are apart.

use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Args;
use simattn::{Decoder, Positions};
use simattn_data::{Corpus, TEXT_FIELD, read_documents};

use super::super::arguments::DeviceArg;
use super::folders::read_either;
use crate::console::{show, tell_some};
use crate::error::{CliError, failure, input};
use crate::quantity::grouped;
use crate::room;

/// Compare two models' logits on a text: the largest and the RMS difference.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// A model folder, ours or Hugging Face's; its tokenizer reads the text.
    pub first: PathBuf,
    /// Another with the same vocabulary.
    pub second: PathBuf,
    /// A text file or a folder of text files; generated stories where left out.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Tokens to compare at most.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub tokens: usize,
    /// Tokens in a window.
    #[arg(long, value_name = "T", default_value_t = 128)]
    pub context: usize,
    #[command(flatten)]
    pub device: DeviceArg,
}

/// Sums over the logits compared so far.
#[derive(Default)]
struct Agreement {
    largest: f64,
    squares: f64,
    squares_of_first: f64,
    logits: u64,
    positions: u64,
    same_choice: u64,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for models or a text that cannot be compared, [`CliError::Failure`] for
/// logits that are no numbers.
pub(crate) fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let device = args.device.open()?;
    let (first, tokenizer) = read_either(&args.first, &device)?;
    let (second, _) = read_either(&args.second, &device)?;
    let rows = [&first, &second].map(|model| model.config().vocabulary);
    if rows[0] != rows[1] {
        return Err(CliError::Input(format!(
            "{} has {} token ids, {} has {}: their logits cannot be compared",
            args.first.display(),
            rows[0],
            args.second.display(),
            rows[1],
        )));
    }
    for model in [&first, &second] {
        let config = model.config();
        if config.positions == Positions::Learned && args.context > config.context {
            return Err(CliError::Input(format!(
                "--context {} is beyond the model's {} learned positions",
                args.context, config.context
            )));
        }
    }
    if args.tokens == 0 || args.context == 0 {
        return Err(CliError::Input(
            "--tokens and --context must be above 0".into(),
        ));
    }
    let documents = match &args.data {
        Some(path) => {
            let texts = read_documents(path, TEXT_FIELD).map_err(input)?;
            tell_some("convert verify", &texts.passed_over);
            texts.documents
        }
        None => Corpus::tales(1, 64 << 10, 1 << 10).map_err(input)?.train,
    };
    let mut ids = Vec::new();
    for document in &documents {
        if ids.len() >= args.tokens {
            break;
        }
        ids.extend(tokenizer.encode(&document.text).map_err(input)?);
    }
    ids.truncate(args.tokens);
    if ids.is_empty() {
        return Err(CliError::Input(
            "the text has no tokens: give another --data".into(),
        ));
    }
    let window = ids.len().min(args.context) as u128;
    let logits_of_both = window.saturating_mul(8 * rows[0] as u128);
    room::check("a window of logits of both models", logits_of_both).map_err(input)?;
    let mut agreement = Agreement::default();
    for window in ids.chunks(args.context) {
        let pair = [(&first, &args.first), (&second, &args.second)].map(|(model, folder)| {
            let found = logits(model, window, &device);
            match found.iter().position(|logit| !logit.is_finite()) {
                None => Ok(found),
                Some(at) => Err(failure(format!(
                    "{}: at token {} of the text the logits are not finite, although all weights \
                     are: the model's activations overflow, and there is nothing to compare",
                    folder.display(),
                    agreement.positions + (at / rows[0]) as u64 + 1,
                ))),
            }
        });
        let [a, b] = pair;
        agreement.add(&a?, &b?, rows[0]);
    }
    show(agreement.summary())?;
    Ok(())
}

fn logits(model: &Decoder, window: &[u32], device: &Device) -> Vec<f32> {
    let ids: Vec<i32> = window.iter().map(|&id| id as i32).collect();
    let data = TensorData::new(ids, [1, window.len()]);
    let ids = Tensor::<2, Int>::from_data(data, device);
    model.logits(ids).into_data().iter::<f32>().collect()
}

impl Agreement {
    fn add(&mut self, first: &[f32], second: &[f32], vocabulary: usize) {
        for (&a, &b) in first.iter().zip(second) {
            let difference = (f64::from(a) - f64::from(b)).abs();
            self.largest = self.largest.max(difference);
            self.squares += difference * difference;
            self.squares_of_first += f64::from(a) * f64::from(a);
        }
        self.logits += first.len() as u64;
        let rows = first.chunks(vocabulary).zip(second.chunks(vocabulary));
        for (a, b) in rows {
            self.positions += 1;
            self.same_choice += u64::from(choice(a) == choice(b));
        }
    }

    fn summary(&self) -> String {
        let rms = (self.squares / self.logits as f64).sqrt();
        // Of logits that are all 0 nothing is a share.
        let relative = if self.squares_of_first > 0.0 || self.squares == 0.0 {
            let share = self.squares / self.squares_of_first.max(f64::MIN_POSITIVE);
            format!("{:.3e}", share.sqrt())
        } else {
            "- (the first model's logits are all 0)".to_owned()
        };
        format!(
            "logits               {} at {} positions\n\
             largest difference   {:.3e}\n\
             RMS difference       {rms:.3e}\n\
             RMS, relative        {relative}\n\
             same likeliest token {} of {}\n",
            grouped(self.logits as f64),
            grouped(self.positions as f64),
            self.largest,
            grouped(self.same_choice as f64),
            grouped(self.positions as f64),
        )
    }
}

fn choice(scores: &[f32]) -> Option<usize> {
    let places = scores.iter().enumerate();
    places.max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i)
}
