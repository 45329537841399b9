//! The `simattn` binary: reads the command line, runs one command, says in one line what failed.

use std::process::ExitCode;

use clap::Parser;
use simattn_cli::{
    commands::{Cli, usage},
    console::tell,
    error::CliError,
    memory,
};

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

fn main() -> ExitCode {
    memory::keep_freed_pages();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::explain(&error),
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(format_args!("simattn: {error}"));
            match error {
                CliError::Input(_) => ExitCode::from(2),
                CliError::Failure(_) => ExitCode::from(1),
            }
        }
    }
}
