//! The `simattn` binary: reads the command line, runs one command, says in one line what failed.

use std::process::ExitCode;

use clap::Parser;
use simattn_cli::{
    commands::{Cli, CliError},
    console::tell,
    memory,
};

#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

fn main() -> ExitCode {
    memory::keep_freed_pages();
    match Cli::parse().run() {
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
