//! The gradients of a step that several ranks share.
//!
//! Every rank runs its own micro-batches. While the last of them is still in backward, gradients
//! that are complete go out in buckets: first those of the last blocks, with which backward begins.
//! What comes back is the same on all ranks, and the same as on one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Gradients, Tensor};
use simattn::Settled;
use simattn::named;
use simattn_data::Batch;

use crate::error::TrainError;
use crate::fault;
use crate::flat::Flat;
use crate::gradients::GradientSum;
use crate::groups::GroupSums;
use crate::ranks::Ranks;
use crate::report::Exchange;
use crate::step::{StepAt, StepGradients, number, tensors};

/// Numbers in a bucket: at most this many.
const LARGEST: usize = 1 << 20;
/// At least this many: a smaller one costs as much time.
const SMALLEST: usize = 1 << 14;
/// A small model has this many buckets: the first goes out early, and of the last little is waited
/// for.
const FEWEST: usize = 32;

/// [`StepAt::gradients`] of `own`, this rank's share of a step's micro-batches, added up over all
/// ranks. `groups` are those of all ranks.
///
/// # Errors
///
/// As [`StepAt::gradients`] on one rank, and [`TrainError::OnRank`] on the others: only one of them
/// has to speak.
pub(super) fn gradients(
    at: &StepAt<'_>,
    own: &[Batch],
    groups: usize,
    ranks: &Ranks,
) -> Result<(StepGradients, Exchange), TrainError> {
    let groups = (groups / ranks.count()).max(1);
    // Held here a rank is one that hangs.
    let _ = fault::pass("rank.step");
    let mut outgoing = Outgoing::new(GroupSums::new(own.len().div_ceil(groups)), at, ranks);
    // What a step would take without the exchange: every rank goes on with its own sums.
    outgoing.keep_to_itself = fault::pass("exchange.skip").is_err();
    let outgoing = Arc::new(Mutex::new(outgoing));
    let lock = || outgoing.lock().unwrap_or_else(PoisonError::into_inner);
    let mut losses = Vec::with_capacity(own.len());
    for (index, batch) in own.iter().enumerate() {
        let (inputs, targets) = tensors(batch, at.device);
        if index + 1 < own.len() {
            let loss = at.decoder.loss(inputs, targets);
            losses.push(number(&loss));
            lock().sums.add(at.decoder, loss.backward());
        } else {
            let told = outgoing.clone();
            let settled: Settled = Arc::new(move |found| {
                let mut outgoing = told.lock().unwrap_or_else(PoisonError::into_inner);
                for (id, gradient) in found {
                    outgoing.settle(id, Flat::from_tensor(gradient));
                }
            });
            let early = fault::pass("exchange.early").is_ok();
            let loss = match early {
                true => at.decoder.loss_telling(inputs, targets, &settled),
                // All at the end of backward, to see what it costs.
                false => at.decoder.loss(inputs, targets),
            };
            losses.push(number(&loss));
            let rest = loss.backward();
            lock().settle_rest(at.decoder, rest);
        }
    }
    if fault::pass("rank.loss").is_err() {
        losses.fill(f64::NAN);
    }
    let waited = Instant::now();
    let sum = lock().finish(at);
    let losses = ranks.gather_numbers(&losses, "adding losses");
    if let Some(wrong) = losses.iter().position(|loss| !loss.is_finite()) {
        let rank = wrong * ranks.count() / losses.len();
        return Err(wrong_loss(at, own, ranks, rank, losses[wrong]));
    }
    let exchange = Exchange {
        seconds: ranks.seconds_on_the_way(),
        waiting: waited.elapsed().as_secs_f64(),
    };
    let loss = losses.iter().fold(0.0, |sum, loss| sum + loss);
    match at.finish(loss, sum, losses.len()) {
        Ok(gradients) => Ok((gradients, exchange)),
        Err(error) if ranks.is_first() => Err(error),
        // All ranks have the same sum.
        Err(_) => Err(TrainError::OnRank { rank: 0 }),
    }
}

/// What rank `rank` has to say of a loss that is not finite: it makes its micro-batches once more.
fn wrong_loss(at: &StepAt<'_>, own: &[Batch], ranks: &Ranks, rank: usize, loss: f64) -> TrainError {
    if rank != ranks.rank() {
        return TrainError::OnRank { rank };
    }
    match at.gradients(own, 1) {
        Err(error) => error,
        Ok(_) => at.wrong_loss(loss, crate::error::Origin::Activations),
    }
}

/// Gradients on their way to the other ranks and back.
#[derive(Debug)]
struct Outgoing {
    sums: GroupSums,
    ranks: Ranks,
    /// Numbers in a bucket.
    size: usize,
    /// The bucket that is being filled.
    bucket: Vec<f32>,
    /// Buckets that the thread of MPI was given.
    given: usize,
    /// This rank's gradients in the order in which they went out; the sums take their place.
    sent: Vec<(ParamId, Vec<f32>)>,
    /// Where the next number that comes back belongs: an entry of `sent`, and a place in it.
    next: (usize, usize),
    /// Names for the log of events.
    names: HashMap<ParamId, String>,
    /// Whether buckets come back as they are, to measure the exchange.
    keep_to_itself: bool,
    /// Those that have to come back then.
    kept: VecDeque<Vec<f32>>,
}

impl Outgoing {
    fn new(sums: GroupSums, at: &StepAt<'_>, ranks: &Ranks) -> Self {
        let size = at.decoder.num_params() / FEWEST;
        let size = size.clamp(SMALLEST, LARGEST);
        let mut names = HashMap::new();
        if ranks.events().is_kept() {
            let parameters = named::parameters(at.decoder).into_iter();
            names.extend(parameters.map(|parameter| (parameter.id, parameter.name)));
        }
        Self {
            sums,
            ranks: ranks.clone(),
            size,
            bucket: Vec::with_capacity(size),
            given: 0,
            sent: Vec::new(),
            next: (0, 0),
            names,
            keep_to_itself: false,
            kept: VecDeque::new(),
        }
    }

    /// Sends the sum of one parameter's gradients; `gradient` is that of the last micro-batch.
    fn settle(&mut self, id: ParamId, gradient: Flat) {
        if let Some(name) = self.names.get(&id) {
            self.ranks
                .events()
                .note(format_args!("gradient {name} done"));
        }
        let numbers = self.sums.finish_one(id, gradient).into_numbers();
        let mut rest = numbers.as_slice();
        while let Some(part) = rest.split_off(..rest.len().min(self.size - self.bucket.len())) {
            if part.is_empty() {
                break;
            }
            self.bucket.extend_from_slice(part);
            if self.bucket.len() == self.size {
                let full = std::mem::replace(&mut self.bucket, Vec::with_capacity(self.size));
                self.give(full, false);
            }
        }
        self.sent.push((id, numbers));
        while let Some(sum) = self.came_back(false) {
            self.take_back(&sum);
        }
    }

    /// The sum of the oldest bucket that is still away; if `wait` is false, only where it is there
    /// already.
    fn came_back(&mut self, wait: bool) -> Option<Vec<f32>> {
        match self.keep_to_itself {
            true => self.kept.pop_front(),
            false => self.ranks.summed_bucket(wait),
        }
    }

    /// Gives the thread of MPI a bucket, which it sends at once unless it still sends another.
    fn give(&mut self, bucket: Vec<f32>, last: bool) {
        let number = self.given;
        self.ranks
            .events()
            .note(format_args!("bucket {number} given"));
        self.given += 1;
        match self.keep_to_itself {
            true => self.kept.push_back(bucket),
            false => self.ranks.send_bucket(bucket, last),
        }
    }

    /// Sends what backward left for its end.
    fn settle_rest<M: Module>(&mut self, module: &M, gradients: Gradients) {
        module.visit(&mut Rest {
            gradients,
            outgoing: self,
        });
    }

    /// Puts the numbers of a bucket that came back where they belong.
    fn take_back(&mut self, mut sum: &[f32]) {
        while !sum.is_empty() {
            let (entry, at) = self.next;
            let Some((_, numbers)) = self.sent.get_mut(entry) else {
                return;
            };
            let count = sum.len().min(numbers.len() - at);
            let (now, later) = sum.split_at(count);
            numbers[at..at + count].copy_from_slice(now);
            sum = later;
            self.next = match at + count == numbers.len() {
                true => (entry + 1, 0),
                false => (entry, at + count),
            };
        }
    }

    /// Waits for all sums; in the module's order, as on one rank.
    fn finish(&mut self, at: &StepAt<'_>) -> GradientSum {
        let bucket = std::mem::take(&mut self.bucket);
        self.give(bucket, true);
        while self.next.0 < self.sent.len() {
            match self.came_back(true) {
                Some(sum) => self.take_back(&sum),
                None => break,
            }
        }
        let mut sums: HashMap<ParamId, Vec<f32>> = self.sent.drain(..).collect();
        let parameters = named::parameters(at.decoder).into_iter();
        let entries = parameters.filter_map(|parameter| {
            let numbers = sums.remove(&parameter.id)?;
            Some((parameter.id, Flat::from_numbers(numbers, at.device)))
        });
        GradientSum::from_entries(entries.collect())
    }
}

/// Sends every gradient that is there.
struct Rest<'a> {
    gradients: Gradients,
    outgoing: &'a mut Outgoing,
}

impl ModuleVisitor for Rest<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = param.val().grad_remove(&mut self.gradients) {
            let sent = self.outgoing.sent.iter().any(|(id, _)| *id == param.id);
            assert!(!sent, "a gradient grew after it was complete");
            self.outgoing.settle(param.id, Flat::from_tensor(gradient));
        }
    }
}
