//! A model that answers: options and beginnings of `generate`, `chat` and `serve`.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use clap::{Args, ValueEnum};
use simattn::Precision;
use simattn::decoding::{
    CacheForm, DeviceOptions, NumberType, Running, RunningOnDevice, RunningOptions,
};
use simattn_data::{TextSettings, Tokenizer};
use simattn_serve::engine::{Cached, OnDevice};
use simattn_serve::scheduler::{AnswerError, Limits, Scheduler, SubmitError};
use simattn_serve::text::Vocabulary;

use super::arguments::{DeviceArg, NumberArg};
use super::open_model::open_model;
use crate::error::{CliError, failure, input};
use crate::{device, room};

/// How a model runs.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RunningArgs {
    /// The type of the weights; GPUs take f32.
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    pub weights: NumberArg,
    /// The type of the caches; GPUs take f32 and bf16.
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    pub cache: NumberArg,
    /// What the caches of SAS keep: a compact one is smaller, and every step expands it again.
    #[arg(long, value_name = "FORM", value_enum, default_value = "expanded")]
    pub cache_form: FormArg,
    #[command(flatten)]
    pub device: DeviceArg,
}

/// Values of `--cache-form`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormArg {
    /// Expanded keys and values.
    Expanded,
    /// Keys and values as they were projected.
    Compact,
}

impl From<FormArg> for CacheForm {
    fn from(form: FormArg) -> Self {
        match form {
            FormArg::Expanded => Self::Expanded,
            FormArg::Compact => Self::Compact,
        }
    }
}

impl RunningArgs {
    /// How caches on a GPU are kept.
    ///
    /// # Errors
    /// [`CliError::Input`] for types that are for the CPU alone, or that the device does not have.
    fn on_device(&self, device: &Device) -> Result<DeviceOptions, CliError> {
        let only_cpu = |option: &str, number: NumberArg, known: &str| {
            let number = NumberType::from(number);
            CliError::Input(format!(
                "{option} {number}: on GPUs it can be {known}; with --device cpu it can be {number}"
            ))
        };
        if self.weights != NumberArg::F32 {
            return Err(only_cpu("--weights", self.weights, "f32"));
        }
        let cache = match self.cache {
            NumberArg::F32 => Precision::Float32,
            NumberArg::Bf16 => Precision::Bfloat16,
            NumberArg::Int8 => return Err(only_cpu("--cache", self.cache, "f32 or bf16")),
        };
        device::computes(device, cache).map_err(input)?;
        let form = self.cache_form.into();
        Ok(DeviceOptions { cache, form })
    }
}

/// Bytes for running answers where nobody says how many: half of what is free.
pub(super) fn memory() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    room::available().map_or(UNKNOWN, |free| free / 2)
}

/// A model in a thread of its own, and what is known of its text.
pub(super) struct RunningModel {
    pub(super) scheduler: Scheduler,
    pub(super) tokenizer: Tokenizer,
    pub(super) text: TextSettings,
    /// The ids at which its answers end.
    pub(super) ends: Arc<[u32]>,
    pub(super) vocabulary: Arc<Vocabulary>,
}

/// Opens a model folder and starts the model.
pub(super) fn start(
    folder: &Path,
    args: &RunningArgs,
    limits: Limits,
) -> Result<RunningModel, CliError> {
    let device = args.device.open()?;
    let on_gpu = match device == Device::flex() {
        true => None,
        false => Some(args.on_device(&device)?),
    };
    let model = open_model(folder, &device)?;
    let scheduler = match on_gpu {
        None => {
            let options = RunningOptions {
                weights: args.weights.into(),
                cache: args.cache.into(),
                form: args.cache_form.into(),
            };
            let running = Running::new(&model.decoder, options);
            drop(model.decoder);
            Scheduler::start(Cached::new(running), limits)
        }
        Some(options) => {
            let running = RunningOnDevice::new(model.decoder, options);
            Scheduler::start(OnDevice::new(running), limits)
        }
    };
    let scheduler = scheduler.map_err(failure)?;
    Ok(RunningModel {
        scheduler,
        ends: model.text.generation_ends(&model.tokenizer).into(),
        vocabulary: Arc::new(Vocabulary::new(&model.tokenizer)),
        tokenizer: model.tokenizer,
        text: model.text,
    })
}

/// A request that was not taken: most are the user's to correct.
pub(super) fn refused(error: SubmitError) -> CliError {
    match error {
        SubmitError::Dead | SubmitError::Draining => failure(error),
        _ => input(error),
    }
}

/// An answer that was not completed.
pub(super) fn broken(error: AnswerError) -> CliError {
    failure(error)
}
