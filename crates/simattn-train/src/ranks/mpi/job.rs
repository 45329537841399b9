//! What passes between the thread that owns MPI and the rest of the process.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::ending::Ending;
use crate::ranks::events::Events;
use crate::ranks::manners::Manners;

/// What the thread is to do.
pub(super) enum Job {
    /// Every rank's bytes to all.
    Gather(Vec<u8>, &'static str),
    /// Bytes of rank 0 to all.
    FromFirst(Vec<u8>, &'static str),
    /// A number of rank 0 to all.
    Word(u64, &'static str),
    /// Parts of numbers, each right on one rank, to all.
    Complete {
        numbers: Vec<f32>,
        parts: Vec<Range<usize>>,
        doing: &'static str,
    },
    /// A bucket to be added over the ranks, and whether it is the last of its sum.
    Bucket(Vec<f32>, bool),
    /// Everybody has come so far: the end.
    Leave,
}

/// What comes back, but for sums.
pub(super) enum Reply {
    Joined {
        rank: usize,
        count: usize,
        events: Events,
    },
    Refused(String),
    Gathered(Vec<Vec<u8>>),
    Bytes(Vec<u8>),
    Word(u64),
    Numbers(Vec<f32>),
    Left,
}

/// What the thread and the rest of the process look at together.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) ending: Ending,
    /// Nanoseconds in which buckets were on their way.
    pub(super) on_the_way: Arc<AtomicU64>,
    pub(super) manners: Manners,
}
