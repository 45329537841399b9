//! The thread that owns MPI.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use mpi::Threading;
use mpi::datatype::PartitionMut;
use mpi::request;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use super::job::{Job, Reply, Shared};
use super::sums::Sums;
use super::waiting::Waiting;
use crate::ranks::events::Events;

/// Bytes or numbers that go out in one call at most: MPI counts in 31 bits, and copies stay small.
const PIECE: usize = 1 << 24;

/// Starts MPI, then does one job after another.
pub(super) fn serve(
    shared: Shared,
    jobs: &Receiver<Job>,
    replies: &SyncSender<Reply>,
    sums: &Sender<Vec<f32>>,
) {
    // Whoever waits at the other end is gone where a reply cannot be sent, and so is the process.
    let reply = |reply: Reply| drop(replies.send(reply));
    shared.ending.inside(true);
    // This thread alone calls MPI.
    let Some((universe, level)) = mpi::initialize_with_threading(Threading::Funneled) else {
        return reply(Reply::Refused("it was started before".to_owned()));
    };
    if level < Threading::Funneled {
        let why = "this MPI cannot be used in a process with several threads";
        return reply(Reply::Refused(why.to_owned()));
    }
    let world = universe.world();
    let (rank, count) = (world.rank() as usize, world.size() as usize);
    let events = Events::of_rank(rank);
    reply(Reply::Joined {
        rank,
        count,
        events: events.clone(),
    });
    let exchange = Exchange {
        world: &world,
        shared: &shared,
    };
    let mut adding = Sums::default();
    loop {
        shared.ending.inside(false);
        let Ok(job) = jobs.recv() else {
            // The run broke off: MPI is not finalised, which would wait for the others.
            std::mem::forget(universe);
            return;
        };
        shared.ending.inside(true);
        match job {
            Job::Gather(own, doing) => reply(Reply::Gathered(exchange.gather(own, doing))),
            Job::FromFirst(own, doing) => reply(Reply::Bytes(exchange.sent_by_first(own, doing))),
            Job::Word(word, doing) => reply(Reply::Word(exchange.word(word, doing))),
            Job::Complete {
                numbers,
                parts,
                doing,
            } => reply(Reply::Numbers(exchange.complete(numbers, &parts, doing))),
            Job::Bucket(numbers, last) => {
                let done = adding.bucket(&world, &shared, &events, numbers, last);
                for sum in done {
                    let _ = sums.send(sum);
                }
            }
            Job::Leave => {
                exchange.wait(vec![world.immediate_barrier()], "leaving together");
                drop(universe);
                shared.ending.inside(false);
                return reply(Reply::Left);
            }
        }
    }
}

/// The exchanges that are not sums.
struct Exchange<'w> {
    world: &'w SimpleCommunicator,
    shared: &'w Shared,
}

impl Exchange<'_> {
    fn wait<'a, D: ?Sized, S: request::Scope<'a>>(
        &self,
        open: Vec<request::Request<'a, D, S>>,
        doing: &str,
    ) {
        Waiting::new(self.world, self.shared).all(open, doing);
    }

    /// A number of rank 0.
    fn word(&self, word: u64, doing: &str) -> u64 {
        let mut word = [word];
        let first = self.world.process_at_rank(0);
        request::scope(|scope| {
            let open = first.immediate_broadcast_into(scope, &mut word[..]);
            self.wait(vec![open], doing);
        });
        word[0]
    }

    /// Bytes of rank 0.
    fn sent_by_first(&self, mut bytes: Vec<u8>, doing: &str) -> Vec<u8> {
        let length = self.word(bytes.len() as u64, doing);
        bytes.resize(length as usize, 0);
        let first = self.world.process_at_rank(0);
        for piece in bytes.chunks_mut(PIECE) {
            request::scope(|scope| {
                let open = first.immediate_broadcast_into(scope, piece);
                self.wait(vec![open], doing);
            });
        }
        bytes
    }

    /// Bytes of every rank.
    fn gather(&self, mut own: Vec<u8>, doing: &str) -> Vec<Vec<u8>> {
        let length = [own.len() as u64];
        // One byte more than is sent: the address of no bytes is 1 in Rust, which Open MPI takes
        // for MPI_IN_PLACE.
        own.push(0);
        let mut lengths = vec![0u64; self.world.size() as usize];
        request::scope(|scope| {
            let open = (self.world).immediate_all_gather_into(scope, &length[..], &mut lengths[..]);
            self.wait(vec![open], doing);
        });
        let counts: Vec<i32> = lengths.iter().map(|length| *length as i32).collect();
        let mut all = vec![0u8; lengths.iter().sum::<u64>() as usize + 1];
        let mut parts = PartitionMut::new(&mut all[..], &counts[..], starts(&counts));
        let own = &own[..own.len() - 1];
        request::scope(|scope| {
            let open = (self.world).immediate_all_gather_varcount_into(scope, own, &mut parts);
            self.wait(vec![open], doing);
        });
        let mut rest = all.as_slice();
        lengths
            .iter()
            .map(|length| {
                rest.split_off(..*length as usize)
                    .unwrap_or_default()
                    .to_vec()
            })
            .collect()
    }

    /// Parts of numbers from those who have them right.
    fn complete(&self, mut numbers: Vec<f32>, parts: &[Range<usize>], doing: &str) -> Vec<f32> {
        let own = &parts[self.world.rank() as usize];
        let mut first = 0;
        for piece in numbers.chunks_mut(PIECE) {
            let end = first + piece.len();
            let within = |part: &Range<usize>| {
                let edge = |at: usize| at.clamp(first, end) - first;
                edge(part.start)..edge(part.end)
            };
            let counts: Vec<i32> = (parts.iter())
                .map(|part| within(part).len() as i32)
                .collect();
            let from = piece[within(own)].to_vec();
            let mut to = PartitionMut::new(piece, &counts[..], starts(&counts));
            request::scope(|scope| {
                let open =
                    (self.world).immediate_all_gather_varcount_into(scope, &from[..], &mut to);
                self.wait(vec![open], doing);
            });
            first = end;
        }
        numbers
    }
}

/// Where each of several runs in a row begins.
fn starts(counts: &[i32]) -> Vec<i32> {
    let begin = |next: &mut i32, count: &i32| {
        let start = *next;
        *next += count;
        Some(start)
    };
    counts.iter().scan(0, begin).collect()
}
