//! What `simattn compare` takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use simattn::AttentionConfig;
use simattn_data::TokenizerSpec;
use simattn_train::{Override, RunConfig};

use super::super::arguments::{DeviceArg, KernelsArg, positive};
use crate::error::{CliError, input};
use crate::study::{
    description::{Description, SAS_LIGHT, VARIANTS},
    folder::StudyFolder,
    matching::{Match, light},
    plan::{Rates, Share},
    results::Equal,
};

/// The preset that `compare` runs when no other is named.
const QUICK: &str = include_str!("../../../../../configs/quick.toml");

/// The most seeds.
const MOST_SEEDS: u64 = 1000;

/// Rounds in which steps are timed, if no other number is given.
const ROUNDS: u64 = 5;

/// Train models that differ only in their attention, side by side, and say which learns better.
///
/// Without arguments: all variants on the embedded stories, within five minutes on two cores. A
/// study that was interrupted continues when the same command is given again.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// The variants, in the order of the table: mha, gqa, mqa, mla, mfa, tpa, sas,
    /// sas-light.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_values = VARIANTS)]
    pub variants: Vec<String>,
    /// A variant with fields of its attention fixed, such as sas:kernel_size=1,expanded_heads=8;
    /// can be repeated, instead of --variants.
    #[arg(long, value_name = "KIND[:FIELD=VALUE,…]", conflicts_with = "variants")]
    pub variant: Vec<String>,
    /// What the variants' sizes have in common.
    #[arg(long = "match", value_enum, default_value = "parameters")]
    pub matched: MatchArg,
    /// Any field of the configuration, such as train.decay=wsd; can be repeated.
    #[arg(long, value_name = "FIELD=VALUE")]
    pub set: Vec<Override>,
    /// A configuration for model, data and training; the quick preset if not given.
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
    /// Runs of every variant, each with its own seed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seeds: u64,
    /// What every variant gets the same amount of.
    #[arg(long, value_enum, default_value = "steps")]
    pub equal: EqualArg,
    /// Peak learning rates to try for every variant, on a separate seed; each variant then
    /// trains with the one that gave it the lowest validation loss.
    #[arg(long, value_name = "RATE", num_args = 2.., value_parser = positive)]
    pub tune_learning_rate: Vec<f64>,
    /// Steps of every such try; half of the study's if not given.
    #[arg(long, value_name = "N", requires = "tune_learning_rate",
          value_parser = clap::value_parser!(u64).range(1..1 << 40))]
    pub tune_steps: Option<u64>,
    /// Time the steps of all variants first, in turn, in so many rounds (5 if no number is given);
    /// always done if time is held equal.
    #[arg(long, value_name = "ROUNDS", num_args = 0..=1, default_missing_value = "5",
          value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub measure_steps: Option<u64>,
    /// Take the costs of steps that the study in another folder measured, with the same plan.
    #[arg(long, value_name = "DIR", conflicts_with = "measure_steps")]
    pub costs: Option<PathBuf>,
    /// Train only the K-th of N shares of the runs, in its own folder; --merge joins them.
    #[arg(long, value_name = "K/N")]
    pub only: Option<Share>,
    /// Train nothing: join folders of studies, or their results.json, that share the runs of one
    /// plan. A single one gets its table and page anew.
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = [
        "variants", "variant", "matched", "set", "config", "data", "tokenizer", "steps", "seeds",
        "equal", "tune_learning_rate", "tune_steps", "measure_steps", "costs", "only", "kernels",
        "device",
    ])]
    pub merge: Vec<PathBuf>,
    /// Name of the study; its folder, runs/NAME, is created, or continued if it has this study.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The folder to use instead of runs/NAME.
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    pub out: Option<PathBuf>,
    /// The implementation of the operations.
    #[arg(long, value_enum, default_value = "fast")]
    pub kernels: KernelsArg,
    #[command(flatten)]
    pub device: DeviceArg,
}

/// Values of `--equal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EqualArg {
    /// The same number of updates.
    Steps,
    /// The training FLOPs of the baseline.
    Flops,
    /// The training seconds of the baseline, by the measured cost of a step.
    Time,
}

impl From<EqualArg> for Equal {
    fn from(equal: EqualArg) -> Self {
        match equal {
            EqualArg::Steps => Self::Steps,
            EqualArg::Flops => Self::Flops,
            EqualArg::Time => Self::Time,
        }
    }
}

/// Values of `--match`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatchArg {
    /// The number of parameters: the width of the MLP makes up the difference.
    Parameters,
    /// Nothing: every variant keeps the configured MLP.
    None,
}

impl From<MatchArg> for Match {
    fn from(matched: MatchArg) -> Self {
        match matched {
            MatchArg::Parameters => Self::Parameters,
            MatchArg::None => Self::None,
        }
    }
}

/// A study's folder and title.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// Where it is.
    pub(super) folder: PathBuf,
    /// Its title.
    pub(super) name: String,
}

impl CompareArgs {
    /// Where the study goes; one without a name has the moment as its name.
    pub(super) fn place(&self, now: &str) -> Result<Place, CliError> {
        if let Some(out) = &self.out {
            return Ok(Place {
                folder: out.clone(),
                name: out.file_name().unwrap_or_default().to_string_lossy().into(),
            });
        }
        let of_now = || format!("compare-{}", now.replace([':', '-'], ""));
        let name = self.name.clone().unwrap_or_else(of_now);
        if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Err(CliError::Input(format!(
                "--name {name}: not the name of a folder"
            )));
        }
        Ok(Place {
            folder: PathBuf::from("runs").join(&name),
            name,
        })
    }

    /// Whether the folder was left to us.
    pub(super) fn is_unnamed(&self) -> bool {
        self.name.is_none() && self.out.is_none()
    }

    /// The variants as described, by `--variant` or `--variants`. Of all that there are, the light
    /// form of SAS is left out where it is the configuration's own, and in a study that was begun
    /// before it was a variant.
    pub(super) fn described(
        &self,
        config: &RunConfig,
        begun: Option<&StudyFolder>,
    ) -> Result<Vec<Description>, CliError> {
        let texts = if self.variant.is_empty() {
            &self.variants
        } else {
            &self.variant
        };
        let is_light = match &config.model.attention {
            AttentionConfig::Sas(sas) => light(sas) == *sas,
            _ => false,
        };
        let is_older = begun.is_some_and(|study| !study.has(SAS_LIGHT));
        let all = self.variant.is_empty() && self.variants == VARIANTS;
        let left_out = |text: &&String| all && (is_light || is_older) && *text == SAS_LIGHT;
        let parsed = texts.iter().filter(|text| !left_out(text));
        let parsed = parsed.map(|text| text.parse());
        let described: Vec<Description> = parsed.collect::<Result<_, _>>().map_err(input)?;
        if described.is_empty() {
            Err(CliError::Input("--variants: name at least one".into()))
        } else {
            Ok(described)
        }
    }

    /// The configuration with what the command line says instead.
    pub(super) fn config(&self) -> Result<RunConfig, CliError> {
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
        if self.seeds == 0 || self.seeds > MOST_SEEDS {
            return Err(CliError::Input(format!(
                "--seeds {}: give 1 to {MOST_SEEDS}",
                self.seeds
            )));
        }
        // All that follow the first are to be such as a configuration can have.
        let last = RunConfig {
            seed: config.seed.saturating_add(MOST_SEEDS),
            ..config.clone()
        };
        last.validate().map_err(|error| {
            CliError::Input(format!(
                "seed is {}, too near the end: {error}",
                config.seed
            ))
        })?;
        Ok(config)
    }

    /// The seeds of the study's runs.
    pub(super) fn seeds(&self, config: &RunConfig) -> Vec<u64> {
        (0..self.seeds).map(|n| config.seed + n).collect()
    }

    /// The rates to try, on the seed that comes after the last one that a study can have.
    pub(super) fn rates(&self, config: &RunConfig) -> Result<Option<Rates>, CliError> {
        let mut rates = self.tune_learning_rate.clone();
        rates.sort_by(f64::total_cmp);
        if let Some(twice) = rates.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(CliError::Input(format!(
                "--tune-learning-rate: {} is given twice",
                twice[0]
            )));
        }
        for &rate in &rates {
            let mut tried = config.clone();
            tried.train.learning_rate = rate;
            tried.validate().map_err(|error| {
                CliError::Input(format!("--tune-learning-rate {rate}: {error}"))
            })?;
        }
        Ok((!rates.is_empty()).then_some(Rates {
            seed: config.seed + MOST_SEEDS,
            steps: (self.tune_steps).unwrap_or_else(|| config.train.steps.div_ceil(2)),
            rates,
        }))
    }

    /// Rounds in which the steps of all variants are timed.
    pub(super) fn rounds(&self) -> u64 {
        let needed = if self.equal == EqualArg::Time {
            ROUNDS
        } else {
            0
        };
        self.measure_steps.unwrap_or(needed)
    }
}
