//! Batches of token windows in a seeded order, and a fixed sample of windows to validate on.

use crate::error::DataError;
use crate::permutation::Permutation;
use crate::tokenset::TokenSet;
use serde::{Deserialize, Serialize};
use simattn_random::stream;
use std::sync::Arc;

/// Token ids and what follows each of them, both row-major `[batch, context]`.
///
/// `targets[b, t]` is the token that comes after `inputs[b, t]`, so `targets[b, t] == inputs[b, t + 1]` in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[batch, context]`.
    pub inputs: Vec<i32>,
    /// The next token ids, `[batch, context]`.
    pub targets: Vec<i32>,
    /// Rows.
    pub batch: usize,
    /// Tokens in a row.
    pub context: usize,
}

impl Batch {
    fn with_capacity(batch: usize, context: usize) -> Self {
        Self {
            inputs: Vec::with_capacity(batch * context),
            targets: Vec::with_capacity(batch * context),
            batch: 0,
            context,
        }
    }

    /// Appends the row whose window of `context + 1` tokens starts at `start`.
    fn push(&mut self, tokens: &[u32], start: usize) {
        let window = &tokens[start..=start + self.context];
        // Vocabularies stay far below 2^31: `Tokenizer` refuses larger ids.
        self.inputs
            .extend(window[..self.context].iter().map(|&id| id as i32));
        self.targets.extend(window[1..].iter().map(|&id| id as i32));
        self.batch += 1;
    }
}

/// Where a [`Loader`] stands: enough to continue with exactly the batches that would have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Passes over the tokens that are complete.
    pub epoch: u64,
    /// Windows of the current pass that have been given out.
    pub window: u64,
}

/// An endless sequence of training batches; a pure function of the tokens, the shape, the seed and the position.
///
/// Window `w` of an epoch covers the `context + 1` tokens from `offset + w · context`: neighbours share one token, the
/// last target of one being the first input of the next, so every token but an epoch's first is a target at most once
/// per epoch, and once exactly up to the remainder at the end that fills no window. The windows of an epoch come in a
/// seeded [`Permutation`]; a batch that begins at the end of one epoch is filled from the next.
#[derive(Debug, Clone)]
pub struct Loader {
    tokens: Arc<TokenSet>,
    batch: usize,
    context: usize,
    seed: u64,
    shifted: bool,
    position: Position,
    epoch: Epoch,
}

#[derive(Debug, Clone)]
struct Epoch {
    offset: usize,
    order: Permutation,
}

impl Loader {
    /// Batches of `batch` rows of `context` tokens, from the start of epoch 0.
    ///
    /// # Errors
    ///
    /// [`DataError::EmptyShape`] when `batch` or `context` is 0, [`DataError::TextTooShort`] when the tokens do not fill
    /// one window.
    pub fn new(
        tokens: Arc<TokenSet>,
        batch: usize,
        context: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        check_shape(&tokens, batch, context)?;
        let mut loader = Self {
            tokens,
            batch,
            context,
            seed,
            shifted: false,
            position: Position::default(),
            epoch: Epoch {
                offset: 0,
                order: Permutation::new(0, 0, ""),
            },
        };
        loader.epoch = loader.epoch_at(0);
        Ok(loader)
    }

    /// Starts the windows of every epoch at an offset of its own in `0..context`, so that repeated epochs cut the text
    /// in different places. Returns to the start of epoch 0.
    #[must_use]
    pub fn shifted_each_epoch(mut self) -> Self {
        self.shifted = true;
        self.position = Position::default();
        self.epoch = self.epoch_at(0);
        self
    }

    /// The next [`Batch`], always full; the position moves behind it.
    pub fn next_batch(&mut self) -> Batch {
        let mut batch = Batch::with_capacity(self.batch, self.context);
        while batch.batch < self.batch {
            match self.epoch.order.get(self.position.window) {
                Some(window) => {
                    let start = self.epoch.offset + window as usize * self.context;
                    batch.push(&self.tokens.ids, start);
                    self.position.window += 1;
                }
                None => {
                    self.position = Position {
                        epoch: self.position.epoch + 1,
                        window: 0,
                    };
                    self.epoch = self.epoch_at(self.position.epoch);
                }
            }
        }
        batch
    }

    /// Where the next batch begins.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Continues from a position of a loader with the same tokens, shape and seed.
    ///
    /// # Errors
    ///
    /// [`DataError::PositionOutside`] when that epoch has fewer windows, which means that something differs.
    pub fn seek(&mut self, position: Position) -> Result<(), DataError> {
        let epoch = self.epoch_at(position.epoch);
        if position.window > epoch.order.len() {
            return Err(DataError::PositionOutside {
                epoch: position.epoch,
                window: position.window,
                windows: epoch.order.len(),
            });
        }
        self.epoch = epoch;
        self.position = position;
        Ok(())
    }

    /// How many windows the current epoch has.
    pub fn windows(&self) -> u64 {
        self.epoch.order.len()
    }

    /// The tokens that are read.
    pub fn tokens(&self) -> &Arc<TokenSet> {
        &self.tokens
    }

    fn epoch_at(&self, epoch: u64) -> Epoch {
        let predictable = self.tokens.ids.len() - 1;
        let offset = if self.shifted {
            let choices = self.context.min(predictable - self.context + 1);
            stream(self.seed, &format!("windows/offset/epoch-{epoch}")).below(choices as u64)
                as usize
        } else {
            0
        };
        let windows = (predictable - offset) / self.context;
        Epoch {
            offset,
            order: Permutation::new(windows as u64, self.seed, &format!("windows/epoch-{epoch}")),
        }
    }
}

/// A fixed sample of validation windows, spread evenly over the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationSample {
    /// The windows in the order of the text; every batch is full except perhaps the last.
    pub batches: Vec<Batch>,
}

impl ValidationSample {
    /// At most `windows` windows of `context` tokens, in batches of at most `batch` rows.
    ///
    /// The same for every run on the same tokens: nothing is drawn. All windows are taken when there are no more.
    ///
    /// # Errors
    ///
    /// As [`Loader::new`]; `windows` of 0 is an [`DataError::EmptyShape`] too.
    pub fn new(
        tokens: &TokenSet,
        batch: usize,
        context: usize,
        windows: usize,
    ) -> Result<Self, DataError> {
        check_shape(tokens, batch.min(windows), context)?;
        let available = (tokens.ids.len() - 1) / context;
        let taken = windows.min(available);
        let mut batches = Vec::with_capacity(taken.div_ceil(batch));
        for first in (0..taken).step_by(batch) {
            let rows = batch.min(taken - first);
            let mut rows_of_text = Batch::with_capacity(rows, context);
            for row in first..first + rows {
                let window = (row as u128 * available as u128 / taken as u128) as usize;
                rows_of_text.push(&tokens.ids, window * context);
            }
            batches.push(rows_of_text);
        }
        Ok(Self { batches })
    }

    /// How many windows there are in all batches.
    pub fn windows(&self) -> usize {
        self.batches.iter().map(|batch| batch.batch).sum()
    }

    /// How many targets there are in all batches.
    pub fn tokens(&self) -> usize {
        self.batches.iter().map(|batch| batch.targets.len()).sum()
    }
}

fn check_shape(tokens: &TokenSet, batch: usize, context: usize) -> Result<(), DataError> {
    if batch == 0 || context == 0 {
        return Err(DataError::EmptyShape { batch, context });
    }
    let needed = context.saturating_add(1);
    if tokens.ids.len() < needed {
        return Err(DataError::TextTooShort {
            tokens: tokens.ids.len(),
            needed,
            context,
        });
    }
    Ok(())
}
