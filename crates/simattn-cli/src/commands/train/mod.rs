//! `simattn train`: one model from one configuration.

mod arguments;
mod origin;
mod several;

pub(crate) use arguments::TrainArgs;
use burn::tensor::Device;
use origin::Origin;
use several::{Ended, agree};
use simattn::Decoder;
use simattn_train::checkpoint::Checkpoint;
use simattn_train::model_folder;
use simattn_train::{
    Budget, Dataset, Ending, EvaluationReport, Meters, Ranks, RunConfig, Session, SessionError,
    TrainError, Trainer, follow,
};

use crate::console::{show, tell, tell_some, value};
use crate::device::computes;
use crate::error::{CliError, failure, input};
use crate::memory;
use crate::peak::measured_flops;
use crate::quantity::{count, duration, grouped, perplexity};
use crate::room;
use crate::signals::stop_on_signals;
use crate::training_progress::TrainingProgress;

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for what the user can correct, before the run starts and with nothing
/// written; [`CliError::Failure`] for a run that failed.
pub(crate) fn run(args: &TrainArgs) -> Result<(), CliError> {
    let ranks = several::join(args.deadline)?;
    let result = train(args, &ranks);
    several::end(&ranks, result)
}

/// The command as one of `ranks`.
fn train(args: &TrainArgs, ranks: &Ranks) -> Result<(), Ended> {
    let (config, device) = agree(ranks, configure(args, ranks))?;
    let mut origin = agree(ranks, Origin::find(args, &config, ranks))?;
    origin.send(ranks)?;
    let (config, dataset) = agree(ranks, prepare(args, config, &device, &mut origin, ranks))?;
    several::compare(ranks, &config, &dataset, &device)?;
    let decoder = agree(ranks, origin.decoder(args, &config, &device, ranks))?;
    let decoder = ranks.weights_from_first(decoder.with_kernels(args.kernels.into()));
    several::compare_weights(ranks, &decoder)?;
    let trainer = agree(ranks, ready(decoder, &config, &dataset, &device, ranks))?;
    let stop = stop_on_signals().map_err(failure)?;
    if !ranks.is_first() {
        let from = origin.checkpoint();
        return follow(trainer, &config, &dataset, from).map_err(session_error);
    }
    tell_size(&trainer, &dataset, &config);
    let folder = origin.folder(args)?;
    let session = {
        let from = origin.checkpoint();
        if let Some(from) = from {
            tell_origin(from, &config);
        }
        let meters = meters(args, &config, &device, ranks);
        Session::start(trainer, folder, &config, &dataset, from, meters, stop)
            .map_err(session_error)?
    };
    let mut progress = TrainingProgress::new("train", config.train.steps, config.train.log_every);
    let ending = session.run(&mut progress).map_err(session_error)?;
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

/// What a session ends with: what does not fit the data or the configuration as they are now can be
/// corrected, and of several ranks one speaks.
fn session_error(error: SessionError) -> Ended {
    match error {
        SessionError::Train(TrainError::OnRank { .. }) => Ended::Elsewhere,
        SessionError::Checkpoint(_) => Ended::Here(input(error)),
        error => Ended::Here(failure(error)),
    }
}

/// The configuration as the command line has it, and the device that can run it.
fn configure(args: &TrainArgs, ranks: &Ranks) -> Result<(RunConfig, Device), CliError> {
    let set = args.overrides();
    let mut config = match &args.init {
        Some(init) => model_folder::start_from(init, &args.config, &set).map_err(input)?,
        None => RunConfig::from_file_with(&args.config, &set).map_err(input)?,
    };
    args.override_in(&mut config);
    config.validate().map_err(input)?;
    ranks.check_groups(config.train.groups).map_err(input)?;
    let device = args.device.open()?.autodiff();
    computes(&device, config.train.precision).map_err(input)?;
    check_room(&device, &config, ranks)?;
    Ok((config, device))
}

/// The tokens, and the configuration with what they add to it.
fn prepare(
    args: &TrainArgs,
    mut config: RunConfig,
    device: &Device,
    origin: &mut Origin,
    ranks: &Ranks,
) -> Result<(RunConfig, Dataset), CliError> {
    if let Some(from) = origin.checkpoint()
        && config.model.vocabulary == 0
    {
        // The checkpoint's may have rows beyond the tokenizer's ids.
        config.model.vocabulary = from.config.model.vocabulary;
    }
    let mut dataset =
        Dataset::prepare_with(&config.data, config.seed, origin.tokenizer()).map_err(input)?;
    if ranks.is_first() {
        tell_some("train", &dataset.notes);
    }
    let config = dataset.complete(&config).map_err(input)?;
    // Once more, with the tokenizer's vocabulary.
    check_room(device, &config, ranks)?;
    let text = origin.text(args, config.model.vocabulary)?;
    if !text.is_empty() {
        dataset.text = text;
    }
    if ranks.is_first() {
        origin.compare_data(args, &dataset)?;
    }
    Ok((config, dataset))
}

/// A trainer that is this rank's.
fn ready(
    decoder: Decoder,
    config: &RunConfig,
    dataset: &Dataset,
    device: &Device,
    ranks: &Ranks,
) -> Result<Trainer, CliError> {
    let budget = Budget::Steps(config.train.steps);
    let trainer = Trainer::with_decoder(decoder, config, dataset, budget).map_err(input)?;
    let passes = room::passes(config);
    room::check_on(device, "a micro-batch of this run", passes).map_err(input)?;
    trainer.with_ranks(ranks.clone()).map_err(input)
}

/// What the logs say of the machine: of all ranks' processors or cards together.
fn meters(args: &TrainArgs, config: &RunConfig, device: &Device, ranks: &Ranks) -> Meters {
    let measured = || measured_flops(device, config.train.precision) * ranks.count() as f64;
    Meters {
        peak_flops: Some(args.peak_flops.unwrap_or_else(measured)),
        memory: Some(memory::resident),
    }
}

/// Refuses a run whose stories, or whose weights with what training keeps of each, no memory holds.
fn check_room(device: &Device, config: &RunConfig, ranks: &Ranks) -> Result<(), CliError> {
    let data = &config.data;
    if data.source == "tales" && data.sources.is_empty() {
        let bytes = u128::from(data.tales_train_bytes) + u128::from(data.tales_validation_bytes);
        room::check("this much of the embedded corpus", bytes).map_err(input)?;
    }
    let what = "training this model (weights, gradients and the optimizer's moments)";
    room::check_on(device, what, room::training(config, ranks.count())).map_err(input)
}

/// Says what is trained, and on how much.
fn tell_size(trainer: &Trainer, dataset: &Dataset, config: &RunConfig) {
    let ranks = trainer.ranks();
    if !ranks.is_alone() {
        let groups = config.train.groups / ranks.count();
        tell(format_args!(
            "train: {} processes share each step, {groups} of train.groups = {} each",
            ranks.count(),
            config.train.groups
        ));
    }
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
