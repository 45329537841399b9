//! The windows of one source, in a seeded order that takes every token once an epoch.

use crate::batch::Batch;
use crate::error::DataError;
use crate::permutation::Permutation;
use crate::source::TokenSource;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where the windows of one source stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Passes over the tokens that are complete.
    pub epoch: u64,
    /// Windows of the current pass that have been given out.
    pub window: u64,
    /// Windows that have been given out in all passes.
    pub rows: u64,
}

/// An endless sequence of windows of one source.
///
/// The tokens are taken as a ring: what precedes the first token is the last one, the end of text
/// of the last document. Laid end to end, the epochs cut that ring into stretches of `context`
/// targets, and an epoch owns the stretches that begin in it. So every token is a target exactly
/// once an epoch, with no remainder left out: the last window of an epoch takes the first tokens of
/// the next, which then begins behind them, and unless `context` divides the tokens, every epoch
/// cuts the text in other places. Within an epoch the windows come in a seeded [`Permutation`].
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    source: Arc<dyn TokenSource>,
    context: usize,
    seed: u64,
    /// Distinguishes the order of this source from others'.
    name: String,
    cursor: Cursor,
    epoch: Epoch,
}

#[derive(Debug, Clone)]
struct Epoch {
    /// The ring position of its first target.
    first: u64,
    order: Permutation,
}

impl Windows {
    /// From the start of epoch 0. The source must hold a window: see [`check_shape`].
    pub(crate) fn new(
        source: Arc<dyn TokenSource>,
        context: usize,
        seed: u64,
        name: String,
    ) -> Self {
        let mut windows = Self {
            source,
            context,
            seed,
            name,
            cursor: Cursor::default(),
            epoch: Epoch {
                first: 0,
                order: Permutation::new(0, 0, ""),
            },
        };
        windows.epoch = windows.epoch_at(0);
        windows
    }

    pub(crate) fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub(crate) fn source(&self) -> &Arc<dyn TokenSource> {
        &self.source
    }

    /// How many windows the current epoch has.
    pub(crate) fn len(&self) -> u64 {
        self.epoch.order.len()
    }

    /// Appends the next window to a batch.
    pub(crate) fn push_next(&mut self, batch: &mut Batch) -> Result<(), DataError> {
        let window = self.next_window();
        let ids = self.read(self.epoch.first + window * self.context as u64)?;
        batch.push(&ids);
        self.advance();
        Ok(())
    }

    /// Moves behind the next window without reading it.
    pub(crate) fn pass_over(&mut self) {
        self.next_window();
        self.advance();
    }

    /// The next window's place in the text, in an epoch that has one left.
    fn next_window(&mut self) -> u64 {
        loop {
            match self.epoch.order.get(self.cursor.window) {
                Some(window) => return window,
                None => {
                    self.cursor.epoch += 1;
                    self.cursor.window = 0;
                    self.epoch = self.epoch_at(self.cursor.epoch);
                }
            }
        }
    }

    fn advance(&mut self) {
        self.cursor.window += 1;
        self.cursor.rows = self.cursor.rows.saturating_add(1);
    }

    /// The `context` tokens from the ring position `first` on, with the one before them in front.
    fn read(&self, first: u64) -> Result<Vec<u32>, DataError> {
        let tokens = self.source.tokens();
        let mut ids = vec![0; self.context + 1];
        let mut at = (first + tokens - 1) % tokens;
        let mut filled = 0;
        while filled < ids.len() {
            let count = (tokens - at).min((ids.len() - filled) as u64) as usize;
            self.source.read(at, &mut ids[filled..filled + count])?;
            filled += count;
            at = 0;
        }
        Ok(ids)
    }

    /// Continues from a cursor of the same source, context and seed.
    pub(crate) fn seek(&mut self, cursor: Cursor) -> Result<(), DataError> {
        let epoch = self.epoch_at(cursor.epoch);
        if cursor.window > epoch.order.len() {
            return Err(DataError::PositionOutside {
                epoch: cursor.epoch,
                window: cursor.window,
                windows: epoch.order.len(),
            });
        }
        self.epoch = epoch;
        self.cursor = cursor;
        Ok(())
    }

    /// Continues in the epoch of a cursor at the share of it that the cursor has behind it, where
    /// that one counts windows of `context` in `tokens`; where these are not known, with the next
    /// epoch.
    pub(crate) fn seek_share(
        &mut self,
        cursor: Cursor,
        tokens: Option<u64>,
        context: usize,
    ) -> Result<(), DataError> {
        let (epoch, window) = match tokens {
            Some(tokens) => {
                let count = |(start, end)| end - start;
                let before = count(stretches(tokens, context, cursor.epoch));
                let now = count(stretches(self.source.tokens(), self.context, cursor.epoch));
                let given = u128::from(cursor.window).min(before);
                (cursor.epoch, (given * now / before.max(1)) as u64)
            }
            None => (cursor.epoch.saturating_add(1), 0),
        };
        self.seek(Cursor {
            epoch,
            window,
            ..cursor
        })
    }

    /// Counts windows as though so many had been given out.
    pub(crate) fn set_rows(&mut self, rows: u64) {
        self.cursor.rows = rows;
    }

    fn epoch_at(&self, epoch: u64) -> Epoch {
        let (tokens, context) = (u128::from(self.source.tokens()), self.context as u128);
        let (start, end) = stretches(self.source.tokens(), self.context, epoch);
        Epoch {
            // At most a context.
            first: (start * context - u128::from(epoch) * tokens) as u64,
            order: Permutation::new(
                (end - start) as u64,
                self.seed,
                &format!("{}/epoch-{epoch}", self.name),
            ),
        }
    }
}

/// The first of the stretches that begin in an epoch, and the first of the next one.
fn stretches(tokens: u64, context: usize, epoch: u64) -> (u128, u128) {
    // Stretches that begin before the ring has been passed `passes` times. 128 bits hold every
    // product of two 64-bit numbers; the differences are at most a ring and a context long.
    let before = |passes: u128| (passes * u128::from(tokens)).div_ceil(context.max(1) as u128);
    (before(epoch.into()), before(u128::from(epoch) + 1))
}

/// Refuses an empty shape, and a source, the text's training or validation `part`, too short for
/// one window.
pub(crate) fn check_shape(
    part: &'static str,
    source: &dyn TokenSource,
    batch: usize,
    context: usize,
) -> Result<(), DataError> {
    if batch == 0 || context == 0 {
        return Err(DataError::EmptyShape { batch, context });
    }
    let needed = context.saturating_add(1);
    if source.tokens() < needed as u64 {
        return Err(DataError::TextTooShort {
            part,
            tokens: source.tokens(),
            needed,
            context,
        });
    }
    Ok(())
}
