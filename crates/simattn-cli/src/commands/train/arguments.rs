//! The command line of `simattn train`.

use std::path::PathBuf;

use clap::Args;
use simattn_data::TokenizerSpec;
use simattn_train::{Override, Resume, RunConfig};

use crate::commands::arguments::{DeviceArg, KernelsArg, positive};

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
    /// Of several processes: how long one waits for another, in seconds, before the job ends.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 300,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub deadline: u64,
    #[command(flatten)]
    pub device: DeviceArg,
}

impl TrainArgs {
    /// What `--set` says, and `--accumulation`, which `train.groups` must fit when the file is
    /// read.
    pub(super) fn overrides(&self) -> Vec<Override> {
        let accumulation = self.accumulation.map(|n| format!("train.accumulation={n}"));
        let accumulation = accumulation.and_then(|text| text.parse().ok());
        self.set.iter().cloned().chain(accumulation).collect()
    }

    /// The configuration with what the command line says instead.
    pub(super) fn override_in(&self, config: &mut RunConfig) {
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
