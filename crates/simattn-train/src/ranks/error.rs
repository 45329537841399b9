//! Why ranks cannot train together.

/// Why ranks cannot train together. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RanksError {
    /// One of several processes, in a build that knows no others.
    #[error(
        "this is one of {processes} processes that were started together, but this build cannot \
         reach the others; build with --features mpi, or start one process alone (docs/scale-out.md)"
    )]
    NotBuilt {
        /// How many were started.
        processes: usize,
    },
    /// MPI does not start.
    #[error("MPI does not start: {why}")]
    Start {
        /// What is known of it.
        why: String,
    },
    /// The groups cannot be shared equally, or not as whole branches of the tree.
    #[error(
        "{ranks} processes cannot share train.groups = {groups}: each must get equally many of \
         them, a power of two; train.groups = {ranks} fits"
    )]
    Groups {
        /// How many processes there are.
        ranks: usize,
        /// `train.groups`.
        groups: usize,
    },
    /// Two ranks are not about to do the same.
    #[error(
        "rank {rank} has {what} = {theirs}, rank 0 has {ours}; all processes of a run need the same"
    )]
    Differs {
        /// Which one differs from rank 0.
        rank: usize,
        /// In what.
        what: String,
        /// What it has.
        theirs: String,
        /// What rank 0 has.
        ours: String,
    },
}
