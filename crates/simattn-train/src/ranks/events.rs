//! A log of when gradients were done and buckets went out, for tests.
//!
//! The environment variable `SIMATTN_EVENTS` names a file; rank r writes to that name with `.r` at
//! its end, one line an event, in their order. Without the variable nothing is written.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// The variable's name.
#[cfg(feature = "mpi")]
const VARIABLE: &str = "SIMATTN_EVENTS";

/// The log, or none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Option<Arc<Mutex<File>>>);

impl Events {
    /// As the environment says.
    #[cfg(feature = "mpi")]
    pub(super) fn of_rank(rank: usize) -> Self {
        let path = std::env::var(VARIABLE).ok();
        let file = path.and_then(|path| File::create(format!("{path}.{rank}")).ok());
        Self(file.map(|file| Arc::new(Mutex::new(file))))
    }

    /// Whether anything is written.
    pub(crate) fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Writes one line.
    pub(crate) fn note(&self, line: std::fmt::Arguments<'_>) {
        if let Some(file) = &self.0 {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A test that waits for the line will miss it.
            let _ = file.write_fmt(format_args!("{line}\n"));
        }
    }
}
