//! The `simattn` binary: what it does is `simattn_cli::run`.

use std::process::ExitCode;

use simattn_cli::memory::Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    simattn_cli::run()
}
