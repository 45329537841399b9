//! What the `simattn` binary is made of.
//!
//! There are three floors. `commands` has one file per subcommand. Below it are [`study`], a
//! comparison of attention variants (how its models are matched, how they run, its results and the
//! ways to show them), and `bench`, which checks the kernels and then times them. The other modules
//! are the ground floor and name none of these: `error` says why a command ends early and with
//! which exit code, [`console`] writes messages and results, `progress` and `training_progress`
//! show progress, `quantity` and `timestamp` turn numbers and times into text, `device` opens what
//! `--device` asks for, [`machine`] describes the machine of a measurement, `peak` its peak rate,
//! `room` how much memory a command would need, [`memory`] how much it used, and `signals` notices
//! that work is to stop. A test, `tests/floors.rs`, enforces this.
//!
//! Only what the binary, the tests and the example need is public.

mod bench;
mod commands;
pub mod console;
mod device;
mod error;
pub mod machine;
pub mod memory;
mod peak;
mod progress;
mod quantity;
mod room;
mod signals;
pub mod study;
mod timestamp;
mod training_progress;

use std::process::ExitCode;

use clap::Parser;
use commands::{Cli, usage};
use error::CliError;

/// Reads the command line, runs one command and says in one line what failed.
pub fn run() -> ExitCode {
    memory::keep_freed_pages();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::explain(&error),
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !matches!(error, CliError::Told { .. }) {
                console::tell(format_args!("simattn: {error}"));
            }
            ExitCode::from(error.code())
        }
    }
}
