//! `simattn train`: one model from one configuration.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use simattn::Decoder;
use simattn_data::{TextSettings, TokenizerSpec};
use simattn_train::checkpoint::Checkpoint;
use simattn_train::model_folder::{self, Reservation};
use simattn_train::run_folder::RunFolder;
use simattn_train::{
    Budget, Dataset, Ending, EvaluationReport, KeptTokenizer, Meters, Override, Resume, Resumption,
    RunConfig, Session, SessionError, Trainer, compare_config, compare_data,
};

use super::arguments::{DeviceArg, KernelsArg, positive};
use crate::console::{show, tell, tell_some, value};
use crate::device::computes;
use crate::error::{CliError, failure, input};
use crate::memory;
use crate::peak::measured_flops;
use crate::quantity::{count, duration, grouped, perplexity};
use crate::room;
use crate::signals::stop_on_signals;
use crate::training_progress::TrainingProgress;

/// Train one model, with checkpoints that a later start continues from, and save it with its
/// configuration and tokenizer.
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The configuration, a TOML file; see configs/.
    pub config: PathBuf,
    /// The folder of the run; it is created, or continued if it already has this run.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// "auto" continues from the newest checkpoint in the folder, "never" needs a new or empty
    /// folder, a path starts from that checkpoint or run.
    #[arg(long, value_name = "auto|PATH|never", default_value = "auto")]
    pub resume: Resume,
    /// Continue even though the configuration or the data differ from the checkpoint's.
    #[arg(long)]
    pub allow_config_change: bool,
    /// Any field of the configuration, such as train.decay=wsd; can be repeated.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<Override>,
    /// Floating-point operations per second that the machine can reach, for the MFU in the logs;
    /// measured if not given.
    #[arg(long, value_name = "FLOPS", value_parser = positive)]
    pub peak_flops: Option<f64>,
    /// A file, folder or pattern of text, JSON lines or Parquet, or a folder that `prepare` made,
    /// instead of the configuration's; "tales" for the embedded corpus.
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
    /// A saved model to start from: its weights, its form and its tokenizer instead of the
    /// configuration's.
    #[arg(long, value_name = "MODEL", conflicts_with = "tokenizer")]
    pub init: Option<PathBuf>,
    /// The implementation of the operations.
    #[arg(long, value_enum, default_value = "fast")]
    pub kernels: KernelsArg,
    #[command(flatten)]
    pub device: DeviceArg,
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
/// [`CliError::Input`] for what the user can correct, before the run starts and with nothing
/// written; [`CliError::Failure`] for a run that failed.
pub(crate) fn run(args: &TrainArgs) -> Result<(), CliError> {
    let mut config = match &args.init {
        Some(init) => model_folder::start_from(init, &args.config, &args.set).map_err(input)?,
        None => RunConfig::from_file_with(&args.config, &args.set).map_err(input)?,
    };
    args.override_in(&mut config);
    config.validate().map_err(input)?;
    let device = args.device.open()?.autodiff();
    computes(&device, config.train.precision).map_err(input)?;
    check_room(&device, &config)?;
    let found = Resumption::find(&args.out, &args.resume).map_err(input)?;
    // Reading the data may take long; whether there is a place for the run shows before.
    let place = match &found.folder {
        Some(_) => None,
        None => Some(Reservation::new(&args.out).map_err(input)?),
    };
    let from = found.checkpoint.as_ref();
    let mut allowed = Vec::new();
    let mut kept = None;
    if let Some(from) = from {
        kept = Some(KeptTokenizer::of(from, &config.data).map_err(input)?);
        allowed = compare_config(from, &config, args.allow_config_change).map_err(input)?;
        if config.model.vocabulary == 0 {
            // The checkpoint's may have rows beyond the tokenizer's ids.
            config.model.vocabulary = from.config.model.vocabulary;
        }
    }
    let mut dataset =
        Dataset::prepare_with(&config.data, config.seed, kept.as_ref()).map_err(input)?;
    tell_some("train", &dataset.notes);
    let config = dataset.complete(&config).map_err(input)?;
    // Once more, with the tokenizer's vocabulary.
    check_room(&device, &config)?;
    if let Some(origin) = from.map(|from| &from.folder).or(args.init.as_ref()) {
        take_text_settings(&mut dataset, origin, config.model.vocabulary)?;
    }
    let decoder = match (from, &args.init) {
        (Some(from), _) => {
            let data = dataset.fingerprint().map_err(input)?;
            allowed.extend(compare_data(from, &data, args.allow_config_change).map_err(input)?);
            from.decoder(&config, &device).map_err(input)?
        }
        (None, Some(init)) => {
            model_folder::load_weights(init, &config.model, &device).map_err(input)?
        }
        (None, None) => Decoder::new(&config.model, config.seed, &device).map_err(input)?,
    };
    let decoder = decoder.with_kernels(args.kernels.into());
    let budget = Budget::Steps(config.train.steps);
    let trainer = Trainer::with_decoder(decoder, &config, &dataset, budget).map_err(input)?;
    let passes = room::passes(&config);
    room::check_on(&device, "a micro-batch of this run", passes).map_err(input)?;
    let meters = Meters {
        peak_flops: Some(
            args.peak_flops
                .unwrap_or_else(|| measured_flops(&device, config.train.precision)),
        ),
        memory: Some(memory::resident),
    };
    let folder = match (found.folder, place) {
        (Some(folder), _) => folder,
        (None, Some(place)) => RunFolder::create_at(place).map_err(input)?,
        (None, None) => RunFolder::create(&args.out).map_err(input)?,
    };
    tell_size(&trainer, &dataset, &config);
    for (path, error) in &found.unusable {
        let place = folder.set_aside(path).map_err(failure)?;
        tell(format_args!(
            "train: {error}; set aside as {}",
            place.display()
        ));
    }
    for change in &allowed {
        tell(format_args!("train: changed as allowed: {change}"));
    }
    if let Some(from) = from {
        tell_origin(from, &config);
    }
    let stop = stop_on_signals().map_err(failure)?;
    let session = Session::start(trainer, folder, &config, &dataset, from, meters, stop).map_err(
        |error| match error {
            // What does not fit the data or the configuration as they are now.
            SessionError::Checkpoint(_) => input(error),
            error => failure(error),
        },
    )?;
    let mut progress = TrainingProgress::new("train", config.train.steps, config.train.log_every);
    let ending = session.run(&mut progress).map_err(failure)?;
    drop(progress);
    match ending {
        Ending::Finished(last) => {
            show(summary(&last))?;
            show(format_args!("saved       {}\n", value(args.out.display())))?;
        }
        Ending::Stopped { step, checkpoint } => show(format_args!(
            "stopped     after step {}, saved in {}; the same command continues from there\n",
            grouped(step as f64),
            value(checkpoint.display())
        ))?,
    }
    Ok(())
}

/// Refuses a run whose stories, or whose weights with what training keeps of each, no memory holds.
fn check_room(device: &Device, config: &RunConfig) -> Result<(), CliError> {
    let data = &config.data;
    if data.source == "tales" && data.sources.is_empty() {
        let bytes = u128::from(data.tales_train_bytes) + u128::from(data.tales_validation_bytes);
        room::check("this much of the embedded corpus", bytes).map_err(input)?;
    }
    let what = "training this model (weights, gradients and the optimizer's moments)";
    room::check_on(device, what, room::training(config)).map_err(input)
}

/// What ends a text and how a chat is written, where the folder of the weights says it.
fn take_text_settings(dataset: &mut Dataset, origin: &Path, rows: usize) -> Result<(), CliError> {
    let text = TextSettings::from_folder(origin, rows).map_err(input)?;
    if !text.is_empty() {
        dataset.text = text;
    }
    Ok(())
}

/// Says what is trained, and on how much.
fn tell_size(trainer: &Trainer, dataset: &Dataset, config: &RunConfig) {
    tell(format_args!(
        "{}: {} parameters, {} training tokens, {} a step",
        config.model.attention.name(),
        grouped(trainer.parameters() as f64),
        grouped(dataset.train_tokens() as f64),
        grouped(trainer.tokens_per_step() as f64)
    ));
}

/// Says what a run continues from.
fn tell_origin(from: &Checkpoint, config: &RunConfig) {
    if from.config.train.optimizer != config.train.optimizer {
        tell("train: another optimizer: it starts with fresh moments");
    }
    let step = grouped(from.state.progress.step as f64);
    tell(format_args!(
        "train: continues from {} (step {step})",
        from.folder.display()
    ));
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
