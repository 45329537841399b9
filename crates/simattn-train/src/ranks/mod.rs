//! Several processes that train one model together.
//!
//! Each process is a *rank*. [`Ranks`] is what a rank knows of the others and the only way to reach
//! them. Without the feature `mpi`, and in a process that was started by itself, a rank is alone:
//! every method then gives back what it was given.
//!
//! | file | what |
//! |---|---|
//! | `manners.rs` | how long a rank waits, and how it speaks |
//! | `launcher.rs` | what mpirun and its kin say in the environment |
//! | `tree.rs` | the order in which numbers of several ranks are added |
//! | `comparison.rs` | whether all ranks are about to do the same |
//! | `events.rs` | a log of when buckets went out, for tests |
//! | `mpi/` | the ranks of an MPI job: a thread that owns MPI, and the way to it |
//! | `alone.rs` | its place without the feature |
//!
//! Rank 0 leads: it alone has the folder of the run, and says with a [`Command`] what all do next.

#[cfg(not(feature = "mpi"))]
mod alone;
mod comparison;
mod error;
mod events;
mod launcher;
mod manners;
#[cfg(feature = "mpi")]
mod mpi;
#[cfg(any(feature = "mpi", test))]
mod tree;

use std::ops::Range;
use std::sync::Arc;

#[cfg(feature = "mpi")]
use self::mpi::Link;
#[cfg(not(feature = "mpi"))]
use alone::Link;
pub use comparison::{Fact, instruction_set};
pub use error::RanksError;
pub(crate) use events::Events;
pub use launcher::{Launch, launch};
pub use manners::Manners;

/// The processes that train together, as one of them sees them.
#[derive(Clone, Debug, Default)]
pub struct Ranks {
    /// The way to the others, where there are any.
    link: Option<Arc<Link>>,
}

/// What rank 0 has all ranks do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// One update.
    Step,
    /// An evaluation on the validation sample.
    Evaluate,
    /// Rank 0 is to get what the optimiser remembers.
    Gather,
    /// The run has ended.
    End,
}

impl Command {
    const ALL: [Self; 4] = [Self::Step, Self::Evaluate, Self::Gather, Self::End];
}

impl Ranks {
    /// One process by itself.
    pub fn alone() -> Self {
        Self::default()
    }

    /// The ranks of the job that this process belongs to; alone in a process that was started by
    /// itself. To be called once.
    ///
    /// Where there are several, a panic of any thread ends the process from then on, and an
    /// exchange that takes longer than the deadline does.
    ///
    /// # Errors
    ///
    /// [`RanksError::NotBuilt`] for one of several processes in a build that cannot reach the
    /// others, [`RanksError::Start`] where MPI does not start.
    pub fn join(manners: Manners) -> Result<Self, RanksError> {
        let processes = launch().processes;
        if processes < 2 {
            return Ok(Self::alone());
        }
        let link = Link::join(processes, manners)?;
        Ok(Self {
            link: (link.count() > 1).then(|| Arc::new(link)),
        })
    }

    /// Whether there is no other rank.
    pub fn is_alone(&self) -> bool {
        self.link.is_none()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.link.as_ref().map_or(1, |link| link.count())
    }

    /// Which of them this one is, from 0.
    pub fn rank(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.rank())
    }

    /// Whether this one leads.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// This rank's part of `count` things that lie in a row.
    pub(crate) fn part(&self, count: usize) -> Range<usize> {
        let edge = |rank: usize| rank * count / self.count();
        edge(self.rank())..edge(self.rank() + 1)
    }

    /// Refuses a number of groups that these ranks cannot share.
    ///
    /// # Errors
    ///
    /// [`RanksError::Groups`].
    pub fn check_groups(&self, groups: usize) -> Result<(), RanksError> {
        let ranks = self.count();
        let share = groups / ranks;
        if ranks == 1 || groups.is_multiple_of(ranks) && share.is_power_of_two() {
            return Ok(());
        }
        Err(RanksError::Groups { ranks, groups })
    }

    /// What every rank gives, in their order. `doing` speaks where one does not answer.
    pub fn gather(&self, own: Vec<u8>, doing: &'static str) -> Vec<Vec<u8>> {
        match &self.link {
            None => vec![own],
            Some(link) => link.gather(own, doing),
        }
    }

    /// What rank 0 gives; what the others give is not looked at.
    pub fn sent_by_first(&self, own: Vec<u8>, doing: &'static str) -> Vec<u8> {
        match &self.link {
            None => own,
            Some(link) => link.sent_by_first(own, doing),
        }
    }

    /// As [`Self::gather`], numbers: those of all ranks in one row.
    pub(crate) fn gather_numbers(&self, own: &[f64], doing: &'static str) -> Vec<f64> {
        let bytes = own.iter().flat_map(|number| number.to_le_bytes()).collect();
        let all = self.gather(bytes, doing).concat();
        (all.as_chunks::<8>().0.iter())
            .map(|bytes| f64::from_le_bytes(*bytes))
            .collect()
    }

    /// `numbers`, of which rank r has the part `parts[r]` right: then all are right on every rank.
    /// The parts lie in a row.
    pub(crate) fn complete(
        &self,
        numbers: Vec<f32>,
        parts: &[Range<usize>],
        doing: &'static str,
    ) -> Vec<f32> {
        match &self.link {
            None => numbers,
            Some(link) => link.complete(numbers, parts, doing),
        }
    }

    /// `numbers` of rank 0.
    pub(crate) fn numbers_from_first(&self, numbers: Vec<f32>, doing: &'static str) -> Vec<f32> {
        let end = numbers.len();
        let of = |rank: usize| if rank == 0 { 0..end } else { end..end };
        let parts: Vec<Range<usize>> = (0..self.count()).map(of).collect();
        self.complete(numbers, &parts, doing)
    }

    /// Tells the other ranks what is done next. For rank 0.
    pub(crate) fn tell(&self, command: Command) {
        if let Some(link) = self.link.as_ref().filter(|_| self.is_first()) {
            link.word(command as u64, "the next command");
        }
    }

    /// Waits for what rank 0 tells.
    pub(crate) fn listen(&self) -> Command {
        let word = (self.link.as_ref()).map(|link| link.word(0, "the next command"));
        let mut known = Command::ALL.into_iter();
        (known.find(|command| Some(*command as u64) == word)).unwrap_or(Command::End)
    }

    /// Hands over a bucket of numbers that all ranks have as many of, to be added over the ranks.
    /// `last` says whether no other follows in this sum.
    pub(crate) fn send_bucket(&self, numbers: Vec<f32>, last: bool) {
        if let Some(link) = &self.link {
            link.send_bucket(numbers, last);
        }
    }

    /// The sum of the oldest bucket that was not asked for yet; if `wait` is false, only where it
    /// is there already.
    pub(crate) fn summed_bucket(&self, wait: bool) -> Option<Vec<f32>> {
        self.link.as_ref().and_then(|link| link.summed_bucket(wait))
    }

    /// Seconds since the last question in which buckets were on their way.
    pub(crate) fn seconds_on_the_way(&self) -> f64 {
        self.link.as_ref().map_or(0.0, |link| link.seconds())
    }

    /// The log of events.
    pub(crate) fn events(&self) -> Events {
        let link = self.link.as_ref();
        link.map_or_else(Events::default, |link| link.events())
    }

    /// Ends this process with `code`, and with it the job, because something failed here.
    pub fn quit(&self, code: u8) -> ! {
        match &self.link {
            None => std::process::exit(code.into()),
            Some(link) => link.quit(code.into()),
        }
    }

    /// Leaves the job in order, when all have come so far.
    pub fn leave(&self) {
        if let Some(link) = &self.link {
            link.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_by_itself_gets_back_what_it_gives() {
        let ranks = Ranks::alone();
        assert!(ranks.is_alone() && ranks.is_first());
        assert_eq!(ranks.gather(vec![1, 2], "a test"), [[1, 2]]);
        assert_eq!(ranks.gather_numbers(&[0.5, -1.0], "a test"), [0.5, -1.0]);
        assert_eq!(ranks.numbers_from_first(vec![2.0], "a test"), [2.0]);
        assert_eq!(ranks.part(7), 0..7);
        assert!(ranks.check_groups(3).is_ok());
        ranks.leave();
    }
}
