//! `simattn train`: one model from one configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use simattn::Decoder;
use simattn_data::TokenizerSpec;
use simattn_train::model_folder::{self, Reservation, check_free};
use simattn_train::{Budget, Dataset, EvaluationReport, RunConfig, Trainer};

use super::{CliError, KernelsArg, failure, input};
use crate::progress::{Progress, perplexity};
use crate::study::quantity::{count, duration, grouped};

/// Train one model and save it with its configuration and tokenizer.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// The configuration, a TOML file; see configs/.
    pub config: PathBuf,
    /// The folder to make for the model; it must not exist yet.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A text file or a folder of text files instead of the configuration's; "tales" for the
    /// embedded corpus.
    #[arg(long, value_name = "PATH")]
    pub data: Option<String>,
    /// "bytes", "bpe:N" or a tokenizer.json instead of the configuration's.
    #[arg(long, value_name = "T")]
    pub tokenizer: Option<TokenizerSpec>,
    /// Updates of the weights.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// The seed of weights, windows and the embedded corpus.
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Sequences in a micro-batch.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Micro-batches in an update.
    #[arg(long, value_name = "N")]
    pub accumulation: Option<usize>,
    /// The peak learning rate.
    #[arg(long, value_name = "RATE")]
    pub learning_rate: Option<f64>,
    /// Tokens in a training window.
    #[arg(long, value_name = "T")]
    pub context: Option<usize>,
    /// A saved model to go on from: its weights, its form and its tokenizer instead of the
    /// configuration's.
    #[arg(long, value_name = "MODEL", conflicts_with = "tokenizer")]
    pub init: Option<PathBuf>,
    /// The implementation of the operations.
    #[arg(long, value_enum, default_value = "fast")]
    pub kernels: KernelsArg,
}

impl TrainArgs {
    /// The configuration with what the command line says instead.
    fn override_in(&self, config: &mut RunConfig) {
        fn set<T: Clone>(field: &mut T, value: &Option<T>) {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
        set(&mut config.data.source, &self.data);
        set(&mut config.data.tokenizer, &self.tokenizer);
        set(&mut config.train.steps, &self.steps);
        set(&mut config.seed, &self.seed);
        set(&mut config.train.batch, &self.batch);
        set(&mut config.train.accumulation, &self.accumulation);
        set(&mut config.train.learning_rate, &self.learning_rate);
        set(&mut config.model.context, &self.context);
    }
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for whatever the user can put right before the run starts, with nothing
/// written; [`CliError::Failure`] for a run that broke off.
pub fn run(args: &TrainArgs) -> Result<(), CliError> {
    check_free(&args.out).map_err(input)?;
    let mut config = RunConfig::from_file(&args.config).map_err(input)?;
    if let Some(init) = &args.init {
        model_folder::start_from(init, &mut config).map_err(input)?;
    }
    args.override_in(&mut config);
    config.validate().map_err(input)?;
    let dataset = Dataset::prepare(&config.data, config.seed).map_err(input)?;
    let config = dataset.complete(&config).map_err(input)?;
    let budget = Budget::Steps(config.train.steps);
    let device = Device::flex().autodiff();
    let decoder = match &args.init {
        Some(init) => model_folder::load_weights(init, &config.model, &device).map_err(input)?,
        None => Decoder::new(&config.model, config.seed, &device).map_err(input)?,
    };
    let decoder = decoder.with_kernels(args.kernels.into());
    let mut trainer = Trainer::with_decoder(decoder, &config, &dataset, budget).map_err(input)?;
    let reservation = Reservation::new(&args.out).map_err(input)?;
    eprintln!(
        "{}: {} parameters, {} training tokens, {} a step",
        config.model.attention.name(),
        grouped(trainer.parameters() as f64),
        grouped(dataset.train.ids.len() as f64),
        grouped(trainer.tokens_per_step() as f64),
    );
    let mut progress = Progress::new("train", config.train.steps, config.train.log_every);
    let last = trainer.run(&mut progress).map_err(failure)?;
    progress.finish();
    let metadata = BTreeMap::from([
        ("step".to_owned(), last.step.to_string()),
        ("tokens".to_owned(), last.tokens.to_string()),
        (
            "validation_loss".to_owned(),
            last.evaluation.loss.to_string(),
        ),
    ]);
    reservation
        .save(&config, &dataset.tokenizer, trainer.decoder(), &metadata)
        .map_err(failure)?;
    print!("{}", summary(&last));
    println!("saved       {}", args.out.display());
    Ok(())
}

/// What came out, for standard output.
fn summary(last: &EvaluationReport) -> String {
    let evaluation = &last.evaluation;
    let speed = last.tokens as f64 / last.seconds.max(f64::MIN_POSITIVE);
    format!(
        "trained     {} steps, {} tokens in {} ({} tokens/s)\n\
         validation  loss {:.4} nats per token, perplexity {}, {:.4} bits per byte ({} tokens)\n",
        grouped(last.step as f64),
        grouped(last.tokens as f64),
        duration(last.seconds),
        count(speed),
        evaluation.loss,
        perplexity(evaluation.perplexity),
        evaluation.bits_per_byte,
        grouped(evaluation.tokens as f64),
    )
}
