//! How long a rank waits for others, and how it speaks.

use std::time::Duration;

/// What happens between ranks, and what one of them has to say when it ends the job.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// How long a rank waits for another within an exchange.
    pub deadline: Duration,
    /// Says one line to the user.
    pub say: fn(&str),
}
