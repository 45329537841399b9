//! The ranks of an MPI job.
//!
//! One thread owns MPI ([`thread`]): it starts it, makes every call, and looks after what is on its
//! way while the others compute, because MPI itself moves nothing unless it is asked. The rest of
//! the process hands it [`Job`]s and waits for what comes back.

mod ending;
mod job;
mod sums;
mod thread;
mod waiting;

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::error::RanksError;
use super::events::Events;
use super::manners::Manners;
use ending::Ending;
use job::{Job, Reply, Shared};

/// Buckets that wait at most. The wire is never without work for it, and memory stays bounded.
const QUEUE: usize = 4;

/// The way to the other ranks.
#[derive(Debug)]
pub(super) struct Link {
    rank: usize,
    count: usize,
    jobs: SyncSender<Job>,
    replies: Mutex<Receiver<Reply>>,
    sums: Mutex<Receiver<Vec<f32>>>,
    shared: Shared,
    events: Events,
}

impl Link {
    /// Starts the thread and MPI in it.
    pub(super) fn join(_: usize, manners: Manners) -> Result<Self, RanksError> {
        let (jobs, taken) = sync_channel(QUEUE);
        let (reply, replies) = sync_channel(1);
        // As many sums as there are buckets may wait: nobody must stop for them.
        let (sum, sums) = std::sync::mpsc::channel();
        let shared = Shared {
            ending: Ending::default(),
            on_the_way: Arc::default(),
            manners,
        };
        let theirs = shared.clone();
        let refused = |why: String| RanksError::Start { why };
        std::thread::Builder::new()
            .name("ranks".to_owned())
            .spawn(move || thread::serve(theirs, &taken, &reply, &sum))
            .map_err(|error| refused(error.to_string()))?;
        let (rank, count, events) = match replies.recv_timeout(manners.deadline) {
            Ok(Reply::Joined {
                rank,
                count,
                events,
            }) => (rank, count, events),
            Ok(Reply::Refused(why)) => return Err(refused(why)),
            _ => {
                let why = "the processes did not find each other within the deadline";
                return Err(refused(why.to_owned()));
            }
        };
        if count > 1 {
            shared.ending.end_on_panic(rank, manners.say);
        }
        Ok(Self {
            rank,
            count,
            jobs,
            replies: Mutex::new(replies),
            sums: Mutex::new(sums),
            shared,
            events,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn rank(&self) -> usize {
        self.rank
    }

    pub(super) fn gather(&self, own: Vec<u8>, doing: &'static str) -> Vec<Vec<u8>> {
        match self.ask(Job::Gather(own, doing), doing) {
            Reply::Gathered(all) => all,
            _ => self.give_up(doing),
        }
    }

    pub(super) fn sent_by_first(&self, own: Vec<u8>, doing: &'static str) -> Vec<u8> {
        match self.ask(Job::FromFirst(own, doing), doing) {
            Reply::Bytes(bytes) => bytes,
            _ => self.give_up(doing),
        }
    }

    pub(super) fn complete(
        &self,
        numbers: Vec<f32>,
        parts: &[Range<usize>],
        doing: &'static str,
    ) -> Vec<f32> {
        let job = Job::Complete {
            numbers,
            parts: parts.to_vec(),
            doing,
        };
        match self.ask(job, doing) {
            Reply::Numbers(numbers) => numbers,
            _ => self.give_up(doing),
        }
    }

    pub(super) fn word(&self, word: u64, doing: &'static str) -> u64 {
        match self.ask(Job::Word(word, doing), doing) {
            Reply::Word(word) => word,
            _ => self.give_up(doing),
        }
    }

    pub(super) fn send_bucket(&self, numbers: Vec<f32>, last: bool) {
        if self.jobs.send(Job::Bucket(numbers, last)).is_err() {
            self.give_up(sums::DOING);
        }
    }

    pub(super) fn summed_bucket(&self, wait: bool) -> Option<Vec<f32>> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if !wait {
            return sums.try_recv().ok();
        }
        match self
            .shared
            .ending
            .hurrying(|| sums.recv_timeout(self.patience()))
        {
            Ok(sum) => Some(sum),
            Err(_) => self.give_up(sums::DOING),
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        let nanoseconds = self.shared.on_the_way.swap(0, Ordering::Relaxed);
        nanoseconds as f64 * 1e-9
    }

    pub(super) fn events(&self) -> Events {
        self.events.clone()
    }

    pub(super) fn leave(&self) {
        self.ask(Job::Leave, "leaving together");
    }

    /// Ends this process, and with it the job.
    pub(super) fn quit(&self, code: i32) -> ! {
        self.shared.ending.quit(code)
    }

    /// Hands a job over and waits for its reply.
    fn ask(&self, job: Job, doing: &'static str) -> Reply {
        let replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        if self.jobs.send(job).is_err() {
            self.give_up(doing);
        }
        match self
            .shared
            .ending
            .hurrying(|| replies.recv_timeout(self.patience()))
        {
            Ok(reply) => reply,
            Err(_) => self.give_up(doing),
        }
    }

    /// The thread keeps the deadline and names the rank that is silent; this is for a thread that
    /// does not come back from MPI.
    fn patience(&self) -> Duration {
        self.shared.manners.deadline * 2 + Duration::from_secs(5)
    }

    fn give_up(&self, doing: &str) -> ! {
        let rank = self.rank;
        (self.shared.manners.say)(&format!("rank {rank}: MPI does not come back ({doing})"));
        self.quit(1)
    }
}
