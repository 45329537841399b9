//! Batches of token windows from one source or a weighted mixture of several.

use crate::batch::Batch;
use crate::error::DataError;
use crate::source::TokenSource;
use crate::windows::{Cursor, Windows, check_shape};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A source of tokens and its share of the rows, relative to the other sources' weights.
#[derive(Debug, Clone)]
pub struct Weighted {
    /// The tokens.
    pub source: Arc<dyn TokenSource>,
    /// Above 0 and finite.
    pub weight: f64,
}

/// The position of a [`Loader`], three numbers per source: enough to continue with exactly the
/// batches that would have come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position {
    /// One cursor a source, in their order.
    pub sources: Vec<Cursor>,
}

/// What a [`Position`] counts windows of, where that is not what the loader gives now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherWindows {
    /// Tokens in a window.
    pub context: usize,
    /// The tokens of each source, in their order; `None` where that is not known any more.
    pub tokens: Vec<Option<u64>>,
}

/// Which of a step's batches a loader gives. The others are passed over without being read, so that
/// several processes each read their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Batches of a step before the first that is given.
    pub first: usize,
    /// Batches of a step that are given.
    pub count: usize,
    /// Batches of a step.
    pub of: usize,
}

impl Default for Share {
    /// All of them.
    fn default() -> Self {
        Self {
            first: 0,
            count: 1,
            of: 1,
        }
    }
}

/// An endless sequence of training batches; a pure function of the sources, their weights, the
/// shape, the seed and the position.
///
/// Every source gives its windows in an order of its own, each token a target exactly once an
/// epoch. Every row is drawn from the source that is furthest behind its share, the first of them
/// where several are; after any number of rows, each source has given its share to within the
/// number of sources. Memory does not grow with the sources.
#[derive(Debug, Clone)]
pub struct Loader {
    sources: Vec<(Windows, f64)>,
    batch: usize,
    context: usize,
    share: Share,
    /// Batches of the present step that have been given.
    given: usize,
}

impl Loader {
    /// Batches of `batch` rows of `context` tokens of one source, from the start of epoch 0.
    ///
    /// # Errors
    ///
    /// [`DataError::EmptyShape`] when `batch` or `context` is 0, [`DataError::TextTooShort`] when
    /// the tokens do not fill one window.
    pub fn new(
        source: Arc<dyn TokenSource>,
        batch: usize,
        context: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        let weight = 1.0;
        Self::mixed(vec![Weighted { source, weight }], batch, context, seed)
    }

    /// The same from several sources.
    ///
    /// # Errors
    ///
    /// As [`Loader::new`], and [`DataError::Weight`] for a weight that is not above 0 and finite;
    /// without any source [`DataError::NoText`].
    pub fn mixed(
        sources: Vec<Weighted>,
        batch: usize,
        context: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        if sources.is_empty() {
            return Err(DataError::NoText);
        }
        let total: f64 = sources.iter().map(|source| source.weight).sum();
        let mut all = Vec::with_capacity(sources.len());
        for (index, Weighted { source, weight }) in sources.into_iter().enumerate() {
            if !(weight > 0.0 && weight.is_finite() && total.is_finite()) {
                return Err(DataError::Weight { weight });
            }
            check_shape("training", &*source, batch, context)?;
            // The first source's order does not depend on whether others are mixed in.
            let name = match index {
                0 => "windows".to_owned(),
                _ => format!("windows/source-{index}"),
            };
            all.push((Windows::new(source, context, seed, name), weight / total));
        }
        Ok(Self {
            sources: all,
            batch,
            context,
            share: Share::default(),
            given: 0,
        })
    }

    /// The same, but it gives a share of every step's batches alone. Steps begin where it stands
    /// now, and where it is put later.
    ///
    /// The position between two steps is the one of a loader that gives all batches.
    pub fn with_share(mut self, share: Share) -> Self {
        self.share = share;
        self.given = 0;
        self
    }

    /// The next [`Batch`], always full; the position moves behind it.
    ///
    /// # Errors
    ///
    /// Whatever keeps a source from being read; the position is then anywhere within the batch.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        let Share { first, count, of } = self.share;
        if self.given == 0 {
            self.pass_over(first);
        }
        let batch = self.read_batch()?;
        self.given += 1;
        if self.given >= count {
            self.given = 0;
            self.pass_over(of.saturating_sub(first + count));
        }
        Ok(batch)
    }

    /// Moves the position behind `batches` batches that nobody reads.
    fn pass_over(&mut self, batches: usize) {
        for _ in 0..batches * self.batch {
            let next = self.next_source();
            self.sources[next].0.pass_over();
        }
    }

    fn read_batch(&mut self) -> Result<Batch, DataError> {
        let mut batch = Batch::with_capacity(self.batch, self.context);
        while batch.batch < self.batch {
            let next = self.next_source();
            self.sources[next].0.push_next(&mut batch)?;
        }
        Ok(batch)
    }

    /// The source that is furthest behind its share of the rows given so far and the coming one.
    fn next_source(&self) -> usize {
        let rows = |(windows, _): &(Windows, f64)| u128::from(windows.cursor().rows);
        let given: u128 = self.sources.iter().map(rows).sum();
        let behind = |source: &(Windows, f64)| source.1 * (given + 1) as f64 - rows(source) as f64;
        let mut best = 0;
        for index in 1..self.sources.len() {
            if behind(&self.sources[index]) > behind(&self.sources[best]) {
                best = index;
            }
        }
        best
    }

    /// Where the next batch begins.
    pub fn position(&self) -> Position {
        Position {
            sources: self.sources.iter().map(|(all, _)| all.cursor()).collect(),
        }
    }

    /// Continues from a position of a loader with the same sources, shape and seed.
    ///
    /// # Errors
    ///
    /// [`DataError::SourcesDiffer`] for another number of sources, [`DataError::PositionOutside`]
    /// when an epoch has fewer windows: something differs then. The loader stays where it was.
    pub fn seek(&mut self, position: &Position) -> Result<(), DataError> {
        if position.sources.len() != self.sources.len() {
            return Err(DataError::SourcesDiffer {
                found: position.sources.len(),
                expected: self.sources.len(),
            });
        }
        let mut sources = self.sources.clone();
        for ((windows, _), cursor) in sources.iter_mut().zip(&position.sources) {
            windows.seek(*cursor)?;
        }
        self.sources = sources;
        self.given = 0;
        Ok(())
    }

    /// Continues from a position that counts other windows: of another context, of more or fewer
    /// tokens, or drawn with other weights.
    ///
    /// Every source stays in its epoch and continues at the same share of it; one whose tokens are
    /// not known begins its next epoch. What the sources have given so far counts as given by the
    /// present weights, so that none has to make up for the past.
    ///
    /// # Errors
    ///
    /// [`DataError::SourcesDiffer`] for another number of sources; the loader stays where it was.
    pub fn seek_share(
        &mut self,
        position: &Position,
        before: &OtherWindows,
    ) -> Result<(), DataError> {
        let found = position.sources.len();
        let expected = self.sources.len();
        if found != expected || before.tokens.len() != expected {
            return Err(DataError::SourcesDiffer { found, expected });
        }
        let mut sources = self.sources.clone();
        for ((windows, _), (cursor, tokens)) in
            (sources.iter_mut()).zip(position.sources.iter().zip(&before.tokens))
        {
            windows.seek_share(*cursor, *tokens, before.context)?;
        }
        let all = (position.sources.iter()).fold(0u64, |all, from| all.saturating_add(from.rows));
        let mut left = all;
        for (windows, weight) in sources.iter_mut().skip(1) {
            let rows = ((all as f64 * *weight) as u64).min(left);
            windows.set_rows(rows);
            left -= rows;
        }
        if let Some((first, _)) = sources.first_mut() {
            first.set_rows(left);
        }
        self.sources = sources;
        self.given = 0;
        Ok(())
    }

    /// How many windows the current epoch of each source has.
    pub fn windows(&self) -> Vec<u64> {
        self.sources.iter().map(|(all, _)| all.len()).collect()
    }

    /// The tokens that are read.
    pub fn sources(&self) -> impl Iterator<Item = &Arc<dyn TokenSource>> {
        self.sources.iter().map(|(windows, _)| windows.source())
    }
}
