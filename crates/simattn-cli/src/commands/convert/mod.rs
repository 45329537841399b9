//! `simattn convert`: models from and to Hugging Face folders, and whether two models agree.

mod agreement;
mod folders;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use burn::tensor::Device;
use clap::{Args, Subcommand, ValueEnum};
use simattn::huggingface::{FloatType, export_with};
use simattn_data::TokenizerSpec;
use simattn_train::model_folder::Reservation;
use simattn_train::{DataConfig, RunConfig, TrainConfig};

use super::open_model::open_model;
use crate::console::{show, value};
use crate::error::{CliError, failure, input};
use crate::quantity::grouped;
use folders::{local, read_hf};

/// Convert models from and to Hugging Face folders.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    #[command(subcommand)]
    direction: Direction,
}

#[derive(Debug, Subcommand)]
enum Direction {
    FromHf(FromArgs),
    ToHf(ToArgs),
    Verify(agreement::VerifyArgs),
}

/// Read a Hugging Face folder: Llama, Mistral, Qwen2, Qwen3, GPT-NeoX, GPT-2, or what to-hf wrote.
///
/// What is not understood is refused by name; nothing in the folder is executed.
#[derive(Debug, Args)]
pub(crate) struct FromArgs {
    /// A folder with config.json, tokenizer.json and safetensors, or hf://OWNER/NAME[@REVISION].
    pub source: PathBuf,
    /// The folder to write; it may already exist if it is empty.
    pub out: PathBuf,
}

/// Write a model as a Hugging Face folder.
///
/// MHA, GQA and MQA models become a type that every `transformers` knows, if their form fits one;
/// the others come with the Python files that run them.
#[derive(Debug, Args)]
pub(crate) struct ToArgs {
    /// A folder that `train`, `convert from-hf` or `upcycle` wrote.
    pub model: PathBuf,
    /// The folder to write; it may already exist if it is empty.
    pub out: PathBuf,
    /// The type of the weights.
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
}

/// Values of `--dtype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dtype {
    /// As the model holds them.
    F32,
    /// Rounded to float16.
    F16,
    /// Rounded to bfloat16.
    Bf16,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a folder that cannot be read, with nothing written;
/// [`CliError::Failure`] where the result cannot be written.
pub(crate) fn run(args: &ConvertArgs) -> Result<(), CliError> {
    match &args.direction {
        Direction::FromHf(args) => from_hf(args),
        Direction::ToHf(args) => to_hf(args),
        Direction::Verify(args) => agreement::run(args),
    }
}

/// What a converted model's weights say about where they come from.
pub(super) fn origin(command: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("made_by".to_owned(), command.to_owned())])
}

fn from_hf(args: &FromArgs) -> Result<(), CliError> {
    let reservation = Reservation::new(&args.out).map_err(input)?;
    let source = local(&args.source)?;
    let (decoder, _, text) = read_hf(&source, &Device::flex())?;
    let config = RunConfig {
        seed: 0,
        model: decoder.config().clone(),
        data: DataConfig {
            tokenizer: TokenizerSpec::File("tokenizer.json".into()),
            ..DataConfig::default()
        },
        train: TrainConfig::default(),
    };
    let json = fs::read(source.join("tokenizer.json")).map_err(input)?;
    reservation.write_text(&text).map_err(failure)?;
    reservation
        .save_with(&config, &json, &decoder, &origin("convert from-hf"))
        .map_err(failure)?;
    show(format_args!(
        "{}: {}, {} parameters\n",
        value(args.out.display()),
        config.model.attention.name(),
        grouped(simattn::cost::Cost::of(&config.model).parameters.total as f64)
    ))?;
    Ok(())
}

fn to_hf(args: &ToArgs) -> Result<(), CliError> {
    let reservation = Reservation::new(&args.out).map_err(input)?;
    let model = open_model(&args.model, &Device::flex())?;
    let float = match args.dtype {
        Dtype::F32 => FloatType::F32,
        Dtype::F16 => FloatType::F16,
        Dtype::Bf16 => FloatType::Bf16,
    };
    let tokens = model.text.config_fields(&model.tokenizer);
    let written = export_with(&model.decoder, &tokens, float).map_err(input)?;
    let context = model.decoder.config().context;
    let text = model.text.files(&model.tokenizer, context);
    let json = fs::read(args.model.join("tokenizer.json")).map_err(input)?;
    reservation
        .write("tokenizer.json", &json)
        .map_err(failure)?;
    for (name, contents) in &text {
        reservation
            .write(name, contents.as_bytes())
            .map_err(failure)?;
    }
    for (name, contents) in &written.files {
        reservation.write(name, contents).map_err(failure)?;
    }
    reservation.publish().map_err(failure)?;
    show(format_args!(
        "{}: {}\n",
        value(args.out.display()),
        written.family.architecture()
    ))?;
    Ok(())
}
