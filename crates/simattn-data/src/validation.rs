//! A fixed sample of windows to validate on.

use crate::batch::Batch;
use crate::error::DataError;
use crate::source::TokenSource;
use crate::windows::check_shape;

/// A fixed sample of validation windows, spread evenly over the tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationSample {
    /// The windows in the order of the text; every batch is full except perhaps the last.
    pub batches: Vec<Batch>,
}

impl ValidationSample {
    /// At most `windows` windows of `context` tokens, in batches of at most `batch` rows.
    ///
    /// The same for every run on the same tokens: nothing is drawn. All windows are taken when
    /// there are no more.
    ///
    /// # Errors
    ///
    /// As [`Loader::new`](crate::Loader::new); `windows` of 0 is an [`DataError::EmptyShape`] too.
    pub fn new(
        source: &dyn TokenSource,
        batch: usize,
        context: usize,
        windows: usize,
    ) -> Result<Self, DataError> {
        check_shape("validation", source, batch.min(windows), context)?;
        let available = (source.tokens() - 1) / context as u64;
        let taken = available.min(windows as u64) as usize;
        let mut batches = Vec::with_capacity(taken.div_ceil(batch));
        let mut ids = vec![0; context + 1];
        for first in (0..taken).step_by(batch) {
            let rows = batch.min(taken - first);
            let mut rows_of_text = Batch::with_capacity(rows, context);
            for row in first..first + rows {
                let window = (row as u128 * u128::from(available) / taken as u128) as u64;
                source.read(window * context as u64, &mut ids)?;
                rows_of_text.push(&ids);
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
