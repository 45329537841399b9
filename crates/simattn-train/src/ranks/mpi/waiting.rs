//! Waiting for other ranks, with an end to it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mpi::request::{Request, Scope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use super::job::Shared;

/// The tag by which ranks that have waited too long find each other.
const ROLL_CALL: i32 = 7;
/// How long they look for each other.
const ROLL_CALL_TIME: Duration = Duration::from_millis(1500);
/// Before this nobody asks whether somebody else calls the roll.
const LONG: Duration = Duration::from_millis(500);
/// How long a rank looks at the network without a pause while nothing else is to be done.
const EAGER: Duration = Duration::from_millis(2);
/// The pause behind that.
const SHORT_PAUSE: Duration = Duration::from_micros(100);
/// The pause while the others compute, whose time every look takes: the system's buffers keep a
/// wire busy for longer.
const PAUSE: Duration = Duration::from_millis(2);

/// One rank's end of all exchanges.
pub(super) struct Waiting<'w> {
    world: &'w SimpleCommunicator,
    shared: &'w Shared,
}

impl<'w> Waiting<'w> {
    pub(super) fn new(world: &'w SimpleCommunicator, shared: &'w Shared) -> Self {
        Self { world, shared }
    }

    /// Waits for all of `open`. `doing` says to what end, where another rank does not answer before
    /// the deadline; the process ends then.
    pub(super) fn all<'a, D: ?Sized, S: Scope<'a>>(
        &self,
        mut open: Vec<Request<'a, D, S>>,
        doing: &str,
    ) {
        let began = Instant::now();
        while let Some(request) = open.pop() {
            if let Err(request) = request.test() {
                open.push(request);
                self.pause(began, doing);
            }
        }
    }

    /// A moment between two looks.
    fn pause(&self, began: Instant, doing: &str) {
        self.shared.ending.stay_out_if_asked();
        let waited = began.elapsed();
        let called = || {
            let anybody = self.world.any_process();
            anybody.immediate_probe_with_tag(ROLL_CALL).is_some()
        };
        if waited > self.shared.manners.deadline || waited > LONG && called() {
            self.call_the_roll(waited, doing);
        }
        match self.shared.ending.is_hurried() {
            true if waited < EAGER => std::thread::yield_now(),
            true => std::thread::sleep(SHORT_PAUSE),
            false => std::thread::sleep(PAUSE),
        }
    }

    /// Finds out which ranks wait as this one does, names the others, and ends the process.
    fn call_the_roll(&self, waited: Duration, doing: &str) -> ! {
        let (own, count) = (self.world.rank(), self.world.size());
        let mut here = BTreeSet::from([own]);
        for other in (0..count).filter(|other| *other != own) {
            // One byte, which MPI sends off without waiting for the other side.
            let other = self.world.process_at_rank(other);
            other.send_with_tag(&[1u8][..], ROLL_CALL);
        }
        let until = Instant::now() + ROLL_CALL_TIME;
        while Instant::now() < until && here.len() < count as usize {
            let anybody = self.world.any_process();
            match anybody.immediate_matched_probe_with_tag(ROLL_CALL) {
                Some((message, status)) => {
                    message.matched_receive_into(&mut [0u8][..]);
                    here.insert(status.source_rank());
                }
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        let absent: Vec<i32> = (0..count).filter(|rank| !here.contains(rank)).collect();
        // Who was called long before the deadline and misses nobody was asleep, and was missed: the
        // others have said so.
        let was_missed = absent.is_empty() && waited < self.shared.manners.deadline / 2;
        if here.first() == Some(&own) && !was_missed {
            let seconds = waited.as_secs_f64();
            (self.shared.manners.say)(&format!(
                "rank {own}: {} did not answer for {seconds:.0} s ({doing}); the job ends, and the \
                 same command continues from the newest checkpoint",
                named(absent)
            ));
        } else {
            // The first of those that wait speaks; nobody should end it before it has.
            std::thread::sleep(Duration::from_secs(1));
        }
        self.shared.ending.quit_from_inside(1)
    }
}

/// Ranks in words.
fn named(ranks: Vec<i32>) -> String {
    let list: Vec<String> = ranks.iter().map(ToString::to_string).collect();
    match list.len() {
        0 => "the network".to_owned(),
        1 => format!("rank {}", list[0]),
        _ => format!("ranks {}", list.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn silent_ranks_are_named() {
        assert_eq!(named(vec![]), "the network");
        assert_eq!(named(vec![1]), "rank 1");
        assert_eq!(named(vec![1, 3]), "ranks 1, 3");
    }
}
