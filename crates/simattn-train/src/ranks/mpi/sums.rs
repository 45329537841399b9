//! Sums over ranks in an order of our own.
//!
//! A bucket's numbers are cut into one slice a rank. Every rank sends slice r to rank r (an
//! all-to-all), rank r adds what it got as a tree over neighbours, and an all-gather gives all
//! slices to all. As many bytes move as in a ring. While one bucket is gathered, the next is sent:
//! which are on their way together depends on their number alone, so that all ranks begin
//! everything in one order.

use std::sync::atomic::Ordering;
use std::time::Instant;

use mpi::request;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

use super::job::Shared;
use super::waiting::Waiting;
use crate::ranks::events::Events;
use crate::ranks::tree::add_neighbours;

/// What an exchange here is for.
pub(super) const DOING: &str = "adding gradients";

/// Pieces of a bucket that are on their way at once, so that a wire is busy in both directions.
const PIECES: usize = 4;

/// A bucket on its way.
struct Bucket {
    /// Numbers without the padding.
    length: usize,
    /// This rank's numbers, later the sums; padded to a multiple of the ranks.
    numbers: Vec<f32>,
    /// One slice of each rank for every piece; after the addition the first of each is the sum.
    slices: Vec<f32>,
}

/// The buckets of one sum, one after another.
#[derive(Default)]
pub(super) struct Sums {
    /// Added on its owners, and not gathered yet.
    added: Option<Bucket>,
    /// Buckets of this sum so far.
    sent: usize,
}

impl Sums {
    /// Sends a bucket and gathers the one before it, which is given back; also this one if it is
    /// the `last`.
    pub(super) fn bucket(
        &mut self,
        world: &SimpleCommunicator,
        shared: &Shared,
        events: &Events,
        numbers: Vec<f32>,
        last: bool,
    ) -> Vec<Vec<f32>> {
        events.note(format_args!("bucket {} sent", self.sent));
        self.sent += 1;
        let began = Instant::now();
        let ranks = world.size() as usize;
        let before = self.added.take();
        let new = Bucket::new(numbers, ranks);
        let (new, done) = exchange(world, shared, Some(new), before);
        let mut done: Vec<_> = done.into_iter().collect();
        self.added = new;
        if last {
            let (_, end) = exchange(world, shared, None, self.added.take());
            done.extend(end);
            self.sent = 0;
        }
        let nanoseconds = began.elapsed().as_nanos() as u64;
        shared.on_the_way.fetch_add(nanoseconds, Ordering::Relaxed);
        done
    }
}

impl Bucket {
    fn new(mut numbers: Vec<f32>, ranks: usize) -> Self {
        let length = numbers.len();
        numbers.resize(length.next_multiple_of(ranks), 0.0);
        Self {
            length,
            slices: vec![0.0; numbers.len()],
            numbers,
        }
    }

    /// Numbers of a piece, the last one aside.
    fn piece(&self, ranks: usize) -> usize {
        (self.numbers.len() / ranks).div_ceil(PIECES).max(1) * ranks
    }
}

/// Sends `new` to the owners of its slices, who add them, and gathers the sums of `before`.
fn exchange(
    world: &SimpleCommunicator,
    shared: &Shared,
    mut new: Option<Bucket>,
    mut before: Option<Bucket>,
) -> (Option<Bucket>, Option<Vec<f32>>) {
    let ranks = world.size() as usize;
    request::scope(|scope| {
        let mut open = Vec::new();
        if let Some(bucket) = &mut new {
            let piece = bucket.piece(ranks);
            let to = bucket.slices.chunks_mut(piece);
            for (from, to) in bucket.numbers.chunks(piece).zip(to) {
                open.push(world.immediate_all_to_all_into(scope, from, to));
            }
        }
        if let Some(bucket) = &mut before {
            let piece = bucket.piece(ranks);
            let to = bucket.numbers.chunks_mut(piece);
            for (from, to) in bucket.slices.chunks(piece).zip(to) {
                let own = &from[..from.len() / ranks];
                open.push(world.immediate_all_gather_into(scope, own, to));
            }
        }
        // The newest at the end, which is asked first; every question moves all of them.
        open.reverse();
        Waiting::new(world, shared).all(open, DOING);
    });
    if let Some(bucket) = &mut new {
        let piece = bucket.piece(ranks);
        for slices in bucket.slices.chunks_mut(piece) {
            add_neighbours(slices, ranks);
        }
    }
    let done = before.map(|mut bucket| {
        bucket.numbers.truncate(bucket.length);
        bucket.numbers
    });
    (new, done)
}
