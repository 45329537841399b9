//! `simattn compare`: the same training for several attentions, and which learns better.

use std::{io::IsTerminal, path::PathBuf, time::SystemTime};

use clap::{Args, ValueEnum};
use simattn_data::TokenizerSpec;
use simattn_train::{Dataset, Override, RunConfig, model_folder::Reservation};

use super::arguments::KernelsArg;
use crate::console::{show, tell, tell_some, value};
use crate::error::{CliError, failure, input};
use crate::machine::Machine;
use crate::room;
use crate::study::{
    description::{Description, VARIANTS},
    matching::{self, Candidate, Match},
    report,
    results::{CorpusFacts, Equal, RunStatus, Schedule, StudyResults},
    running::{self, Plan},
    table::Table,
    verdict::verdict,
};
use crate::timestamp;

/// The preset that `compare` runs when no other is named.
const QUICK: &str = include_str!("../../../../configs/quick.toml");

/// Train models that differ only in their attention, side by side, and say which learns better.
///
/// Without arguments: all variants on the embedded stories, within five minutes on two cores.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The variants, in the order of the table: mha, gqa, mqa, mla, mfa, tpa, sas.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = VARIANTS)]
    pub variants: Vec<String>,
    /// A variant with fields of its attention fixed, such as sas:kernel_size=1,expanded_heads=8;
    /// may be given several times, instead of --variants.
    #[arg(long, value_name = "KIND[:FIELD=VALUE,…]", conflicts_with = "variants")]
    pub variant: Vec<String>,
    /// What the variants' sizes have in common.
    #[arg(long = "match", value_enum, default_value = "parameters")]
    pub matched: MatchArg,
    /// Any field of the configuration, such as train.decay=wsd; may be given several times.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<Override>,
    /// A configuration for model, data and training; left out: the quick preset.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A text file or a folder of text files; "tales" for the embedded stories.
    #[arg(long, value_name = "PATH")]
    pub data: Option<String>,
    /// "bytes", "bpe:N" or a tokenizer.json.
    #[arg(long, value_name = "T")]
    pub tokenizer: Option<TokenizerSpec>,
    /// Steps of every variant; of the baseline, where FLOPs or time are held equal.
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Runs of every variant, each with a seed of its own.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seeds: u64,
    /// What every variant gets the same amount of.
    #[arg(long, value_enum, default_value = "steps")]
    pub equal: EqualArg,
    /// Name of the study: its folder is runs/NAME, where nothing or an empty folder may stand.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The folder to make instead of runs/NAME.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    pub out: Option<PathBuf>,
    /// The implementation of the operations.
    #[arg(long, value_enum, default_value = "fast")]
    pub kernels: KernelsArg,
}

/// Values of `--equal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EqualArg {
    /// The same number of updates.
    Steps,
    /// The training FLOPs of the baseline.
    Flops,
    /// The training seconds of the baseline.
    Time,
}

/// Values of `--match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatchArg {
    /// The parameters: the MLP takes up what the attention leaves.
    Parameters,
    /// Nothing: every variant has the configuration's MLP.
    None,
}

impl CompareArgs {
    /// The variants as described, by `--variant` or `--variants`.
    fn described(&self) -> Result<Vec<Description>, CliError> {
        let texts = match self.variant.is_empty() {
            true => &self.variants,
            false => &self.variant,
        };
        let parsed = texts.iter().map(|text| text.parse());
        let described: Vec<Description> = parsed.collect::<Result<_, _>>().map_err(input)?;
        match described.is_empty() {
            true => Err(CliError::Input("--variants: name at least one".into())),
            false => Ok(described),
        }
    }

    /// The configuration with what the command line says instead.
    fn config(&self) -> Result<RunConfig, CliError> {
        let mut config = match &self.config {
            Some(path) => RunConfig::from_file_with(path, &self.set).map_err(input)?,
            None => RunConfig::from_text_with(QUICK, "configs/quick.toml".as_ref(), &self.set)
                .map_err(input)?,
        };
        if let Some(data) = &self.data {
            config.data.source.clone_from(data);
        }
        if let Some(tokenizer) = &self.tokenizer {
            config.data.tokenizer.clone_from(tokenizer);
        }
        if let Some(steps) = self.steps {
            config.train.steps = steps;
        }
        config.validate().map_err(input)?;
        if self.seeds == 0 || self.seeds > 1000 {
            return Err(CliError::Input(format!(
                "--seeds {}: give 1 to 1000",
                self.seeds
            )));
        }
        Ok(config)
    }
}

/// Runs the command.
///
/// # Errors
/// [`CliError::Input`] for whatever the user can put right before the first step, with nothing
/// written; [`CliError::Failure`] for results that cannot be written.
pub(crate) fn run(args: &CompareArgs) -> Result<(), CliError> {
    let created = timestamp::now(SystemTime::now());
    let name = match (&args.name, &args.out) {
        (Some(name), _) => name.clone(),
        (None, Some(out)) => out.file_name().unwrap_or_default().to_string_lossy().into(),
        (None, None) => format!("compare-{}", created.replace([':', '-'], "")),
    };
    if args.out.is_none()
        && (name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.'))
    {
        return Err(CliError::Input(format!(
            "--name {name}: not the name of a folder"
        )));
    }
    let folder = args
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(&name));
    let config = args.config()?;
    let described = args.described()?;
    // Before the data are read, which may take long.
    let reservation = Reservation::new(&folder).map_err(input)?;
    // Names and sizes are wrong sooner than a corpus is read.
    let mut sized = config.model.clone();
    sized.vocabulary = sized.vocabulary.max(1024);
    let matched = match args.matched {
        MatchArg::Parameters => Match::Parameters,
        MatchArg::None => Match::None,
    };
    let (sized, _) = matching::candidates(&sized, &described, matched).map_err(input)?;
    check_room(&config, &sized)?;

    if std::io::stderr().is_terminal() {
        tell(format_args!(
            "reading {} and building the tokenizer",
            config.data.source
        ));
    }
    let dataset = Dataset::prepare(&config.data, config.seed).map_err(input)?;
    tell_some("compare", &dataset.notes);
    let config = dataset.complete(&config).map_err(input)?;
    let (candidates, matching) =
        matching::candidates(&config.model, &described, matched).map_err(input)?;
    let baseline = match candidates.iter().find(|candidate| candidate.name == "mha") {
        Some(mha) => mha.name.clone(),
        None => candidates[0].name.clone(),
    };
    let plan = Plan {
        equal: match args.equal {
            EqualArg::Steps => Equal::Steps,
            EqualArg::Flops => Equal::Flops,
            EqualArg::Time => Equal::Time,
        },
        seeds: (0..args.seeds)
            .map(|n| config.seed.wrapping_add(n))
            .collect(),
        baseline: baseline.clone(),
        kernels: args.kernels.into(),
        config,
    };
    let train = &plan.config.train;
    // A text shorter than a window shows here, before a folder is made.
    dataset.check_windows(&plan.config).map_err(input)?;
    for line in &matching {
        tell(line);
    }
    let mut study = StudyResults {
        name,
        created,
        command: command_line(),
        machine: Machine::this(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        corpus: CorpusFacts {
            source: dataset.name.clone(),
            tokenizer: plan.config.data.tokenizer.to_string(),
            vocabulary: dataset.tokenizer.vocabulary() as u64,
            train_tokens: dataset.train_tokens(),
            validation_tokens: dataset.validation.tokens(),
            validation_bytes: dataset.validation.bytes(),
        },
        schedule: Schedule {
            equal: plan.equal,
            steps: train.steps,
            batch: train.sequences_per_step() as u64,
            context: plan.config.model.context as u64,
            tokens_per_step: (train.sequences_per_step() * plan.config.model.context) as u64,
            learning_rate: train.learning_rate,
            seeds: plan.seeds.clone(),
        },
        matching,
        variants: Vec::new(),
        baseline,
    };
    study.variants = running::run(&plan, &candidates, &dataset).map_err(failure)?;

    // Hours of work are in it: whoever waits sees them whatever becomes of the files.
    let shown = show_results(&study);
    let json = serde_json::to_vec_pretty(&study).map_err(failure)?;
    let preset = plan.config.to_toml().map_err(failure)?;
    reservation.write("results.json", &json).map_err(failure)?;
    reservation
        .write("config.toml", preset.as_bytes())
        .map_err(failure)?;
    reservation
        .write("report.html", report::html(&study).as_bytes())
        .map_err(failure)?;
    reservation.publish().map_err(failure)?;
    shown?;
    show(format_args!(
        "\n{}\n",
        value(folder.join("report.html").display())
    ))?;
    match failures(&study) {
        None => Ok(()),
        Some(line) => Err(CliError::Failure(line)),
    }
}

/// The table and what it says.
fn show_results(study: &StudyResults) -> Result<(), CliError> {
    show(format_args!("{}\n", Table::new(study).to_text()))?;
    if let Some(against) = Table::against_baseline(study) {
        show(format_args!("{}\n", against.to_text()))?;
    }
    for sentence in verdict(study) {
        show(format_args!("{sentence}\n"))?;
    }
    Ok(())
}

/// Refuses variants that no memory holds; they train one after the other.
fn check_room(config: &RunConfig, candidates: &[Candidate]) -> Result<(), CliError> {
    for candidate in candidates {
        let run = RunConfig {
            model: candidate.model.clone(),
            ..config.clone()
        };
        let what = format!(
            "training {} (weights, gradients and moments)",
            candidate.name
        );
        room::check(&what, room::training(&run)).map_err(input)?;
        let what = format!("a micro-batch of {}", candidate.name);
        room::check(&what, room::passes(&run)).map_err(input)?;
    }
    Ok(())
}

/// Which runs broke off, if any did: a study with such runs has been made, and has not succeeded.
fn failures(study: &StudyResults) -> Option<String> {
    let failed = study.variants.iter().flat_map(|variant| {
        variant.runs.iter().filter_map(|run| match &run.status {
            RunStatus::Finished => None,
            RunStatus::Failed { reason } => {
                Some(format!("{} with seed {}: {reason}", variant.name, run.seed))
            }
        })
    });
    let failed: Vec<String> = failed.collect();
    let first = failed.first()?;
    let all: usize = study
        .variants
        .iter()
        .map(|variant| variant.runs.len())
        .sum();
    Some(format!(
        "{} of {all} runs failed, the results say which; {first}",
        failed.len()
    ))
}

/// The command as it was given, for whoever wants to run it again.
fn command_line() -> String {
    let words = std::env::args().skip(1).map(|word| {
        let plain = |c: char| c.is_alphanumeric() || "-_./:=,".contains(c);
        match !word.is_empty() && word.chars().all(plain) {
            true => word,
            false => format!("'{}'", word.replace('\'', r"'\''")),
        }
    });
    std::iter::once("simattn".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}
