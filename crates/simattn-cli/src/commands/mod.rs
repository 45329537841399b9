//! The command line: one file a subcommand.

mod bench;
mod compare;
mod convert;
mod eval;
mod generate;
mod info;
mod prepare;
mod runs;
mod train;
mod upcycle;

use std::path::Path;

use burn::tensor::Device;
use clap::{Parser, Subcommand, ValueEnum};
use simattn::Recompute;
use simattn_kernels::Kernels;
use simattn_train::model_folder::{self, SavedModel};
use thiserror::Error;

use crate::{device, room};

/// Train, compare and evaluate language models that differ in their attention.
#[derive(Debug, Parser)]
#[command(name = "simattn", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(compare::CompareArgs),
    Prepare(prepare::PrepareArgs),
    Train(train::TrainArgs),
    Runs(runs::RunsArgs),
    Eval(eval::EvalArgs),
    Info(info::InfoArgs),
    Bench(bench::BenchArgs),
    Convert(convert::ConvertArgs),
    Upcycle(upcycle::UpcycleArgs),
    Generate(generate::GenerateArgs),
}

impl Cli {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// What the user can put right, or what broke off; one line each.
    pub fn run(&self) -> Result<(), CliError> {
        match &self.command {
            Command::Compare(args) => compare::run(args),
            Command::Prepare(args) => prepare::run(args),
            Command::Train(args) => train::run(args),
            Command::Runs(args) => runs::run(args),
            Command::Eval(args) => eval::run(args),
            Command::Info(args) => info::run(args),
            Command::Bench(args) => bench::run(args),
            Command::Convert(args) => convert::run(args),
            Command::Upcycle(args) => upcycle::run(args),
            Command::Generate(args) => generate::run(args),
        }
    }
}

/// Values of `--kernels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KernelsArg {
    /// The fastest correct ones for the device.
    Fast,
    /// The definitions in plain tensor operations, to compare with.
    Reference,
}

impl From<KernelsArg> for Kernels {
    fn from(kernels: KernelsArg) -> Self {
        match kernels {
            KernelsArg::Fast => Self::Fast,
            KernelsArg::Reference => Self::Reference,
        }
    }
}

/// Values of `--recompute`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecomputeArg {
    /// Nothing, beside what the operations themselves work out again.
    None,
    /// All that lies inside a decoder block.
    Block,
}

impl From<RecomputeArg> for Recompute {
    fn from(recompute: RecomputeArg) -> Self {
        match recompute {
            RecomputeArg::None => Self::None,
            RecomputeArg::Block => Self::Block,
        }
    }
}

/// Why a command ended early. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CliError {
    /// Something in the arguments or the files they name: exit code 2, nothing written.
    #[error("{0}")]
    Input(String),
    /// Something that went wrong on the way: exit code 1.
    #[error("{0}")]
    Failure(String),
}

/// Opens a model folder where its weights find room, in this process's memory or first there.
fn open_model(folder: &Path, device: &Device) -> Result<SavedModel, CliError> {
    // The file is read whole before the model is filled from it; a run without finished weights
    // has none here.
    let held = std::fs::metadata(folder.join("model.safetensors")).map_or(0, |file| file.len());
    let needed = match device::name(device) {
        "cpu" => 2 * u128::from(held),
        _ => u128::from(held),
    };
    let what = format!("opening {}", folder.display());
    room::check(&what, needed).map_err(input)?;
    model_folder::load(folder, device).map_err(input)
}

/// An error that the user can put right.
fn input(error: impl std::fmt::Display) -> CliError {
    CliError::Input(error.to_string())
}

/// An error on the way.
fn failure(error: impl std::fmt::Display) -> CliError {
    CliError::Failure(error.to_string())
}
