//! The command line: one file a subcommand.

mod arguments;
mod bench;
#[cfg(feature = "serve")]
mod byte_size;
mod chat;
mod compare;
mod convert;
mod eval;
mod generate;
mod info;
mod open_model;
mod prepare;
mod running;
mod runs;
mod sampling;
#[cfg(feature = "serve")]
mod serve;
mod train;
mod upcycle;
pub(crate) mod usage;

use clap::{Parser, Subcommand};

use crate::error::CliError;

/// Train, compare and evaluate language models that differ in their attention.
#[derive(Debug, Parser)]
#[command(name = "simattn", version, about)]
pub(crate) struct Cli {
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
    Chat(chat::ChatArgs),
    #[cfg(feature = "serve")]
    Serve(serve::ServeArgs),
}

impl Cli {
    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// What the user can correct, or what failed; one line each.
    pub(crate) fn run(&self) -> Result<(), CliError> {
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
            Command::Chat(args) => chat::run(args),
            #[cfg(feature = "serve")]
            Command::Serve(args) => serve::run(args),
        }
    }
}
