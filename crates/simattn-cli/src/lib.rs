//! What the `simattn` binary is made of.
//!
//! Three floors: `commands` holds one file a subcommand; below it are [`study`], a comparison of
//! attention variants (how its models are matched, how they run, its results and the ways to show
//! them), and `bench`, which times the kernels after checking them. The other modules are the ground
//! that these stand on, and name none of them: `error` is why a command ends early and with which
//! exit code, [`console`] writes what is said, `progress` and `training_progress` show that work
//! goes on, `quantity` and `timestamp` are numbers and moments as text, `device` opens what
//! `--device` asks for, [`machine`] says what a measurement ran on, `peak` what that can reach,
//! `room` what a command would take of its memory and [`memory`] what it took. A test,
//! `tests/floors.rs`, keeps it so.
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
            console::tell(format_args!("simattn: {error}"));
            match error {
                CliError::Input(_) => ExitCode::from(2),
                CliError::Failure(_) => ExitCode::from(1),
            }
        }
    }
}
