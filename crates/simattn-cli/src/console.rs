//! What a command says: results on standard output, everything else on standard error.
//!
//! `println!` and `eprintln!` end the program where nobody listens any more: after `simattn … | head`, or on a terminal
//! whose connection broke off. A run must survive that.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::commands::CliError;

/// Writes a result to standard output. A reader that went away is no error: it has seen what it wanted.
///
/// # Errors
/// [`CliError::Failure`] with what else the system says, such as a full disk behind a redirection.
pub fn show(text: impl Display) -> Result<(), CliError> {
    write_to(&mut io::stdout().lock(), text)
        .map_err(|error| CliError::Failure(format!("standard output: {error}")))
}

/// Writes a line to standard error, or nowhere if nothing takes it.
pub fn tell(line: impl Display) {
    // Nobody is left who could be told of the failure.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

fn write_to(out: &mut impl Write, text: impl Display) -> io::Result<()> {
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        assert!(write_to(&mut Refusing(ErrorKind::BrokenPipe), "text").is_ok());
        let full = write_to(&mut Refusing(ErrorKind::StorageFull), "text");
        assert_eq!(full.unwrap_err().kind(), ErrorKind::StorageFull);
        let mut out = Vec::new();
        write_to(&mut out, format_args!("{} lines\n", 2)).unwrap();
        assert_eq!(out, b"2 lines\n");
    }
}
