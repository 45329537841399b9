//! Why a command ended early, and with it the exit code.

use std::fmt::Display;

use thiserror::Error;

/// Why a command ended early. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CliError {
    /// Something in the arguments or the files they name: exit code 2, nothing written.
    #[error("{0}")]
    Input(String),
    /// Something that went wrong on the way: exit code 1.
    #[error("{0}")]
    Failure(String),
    /// The one or the other, which has been said already.
    #[error("it has been said why this ends with exit code {code}")]
    Told {
        /// The exit code.
        code: u8,
    },
}

impl CliError {
    /// The exit code of the command.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Input(_) => 2,
            Self::Failure(_) => 1,
            Self::Told { code } => *code,
        }
    }
}

/// An error that the user can correct.
pub(crate) fn input(error: impl Display) -> CliError {
    CliError::Input(error.to_string())
}

/// Something that failed on the way.
pub(crate) fn failure(error: impl Display) -> CliError {
    CliError::Failure(error.to_string())
}

/// An error of the one kind or the other, as it says itself:
/// `.map_err(input_if(HubError::is_input))`.
pub(crate) fn input_if<E: Display>(is_input: fn(&E) -> bool) -> impl FnOnce(E) -> CliError {
    move |error| {
        if is_input(&error) {
            input(error)
        } else {
            failure(error)
        }
    }
}
