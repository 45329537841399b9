//! The next batches, prepared while the present one is trained on.

use crate::batch::Batch;
use crate::error::DataError;
use crate::loader::{Loader, OtherWindows, Position, Share};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Batches that wait at most.
const AHEAD: usize = 2;

/// What the thread hands over: a batch and the position behind it.
type Prepared = Result<(Batch, Position), DataError>;

/// A [`Loader`] that works ahead in a thread of its own and gives out the same batches.
///
/// Its position is that of the batches given out; what is prepared beyond it leaves no trace.
#[derive(Debug)]
pub struct BackgroundLoader {
    /// As it stood when the thread began, for [`BackgroundLoader::seek`].
    loader: Loader,
    position: Position,
    /// `None` while a thread is being replaced, and after one ended with an error.
    worker: Option<Worker>,
}

#[derive(Debug)]
struct Worker {
    batches: Receiver<Prepared>,
    thread: JoinHandle<()>,
}

impl BackgroundLoader {
    /// Continues from the loader's position. The thread begins with the first batch that is asked
    /// for.
    pub fn new(loader: Loader) -> Self {
        Self {
            position: loader.position(),
            loader,
            worker: None,
        }
    }

    /// The same, but it gives a share of every step's batches alone, as [`Loader::with_share`]. To
    /// be called between two steps.
    ///
    /// # Errors
    ///
    /// As [`Loader::seek`].
    pub fn with_share(mut self, share: Share) -> Result<Self, DataError> {
        self.stop();
        let mut loader = self.loader.clone().with_share(share);
        loader.seek(&self.position)?;
        Ok(Self::new(loader))
    }

    /// The next batch, as [`Loader::next_batch`].
    ///
    /// # Errors
    ///
    /// Whatever keeps a source from being read. The position stays behind the last batch that was
    /// given out, and the next call tries again from there.
    pub fn next_batch(&mut self) -> Result<Batch, DataError> {
        let worker = match &self.worker {
            Some(worker) => worker,
            None => {
                self.loader.seek(&self.position)?;
                self.worker.insert(start(self.loader.clone())?)
            }
        };
        match worker.batches.recv() {
            Ok(Ok((batch, position))) => {
                self.position = position;
                Ok(batch)
            }
            Ok(Err(error)) => {
                self.stop();
                Err(error)
            }
            // The thread sends an error before it ends; it can only be gone because it panicked.
            Err(_) => {
                self.stop();
                Err(DataError::LoaderThread {
                    problem: "it ended without a message".to_owned(),
                })
            }
        }
    }

    /// Behind the last batch that was given out.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Continues from a position, as [`Loader::seek`].
    ///
    /// # Errors
    ///
    /// As [`Loader::seek`]; the loader then stays where it was.
    pub fn seek(&mut self, position: &Position) -> Result<(), DataError> {
        self.loader.seek(position)?;
        self.stop();
        self.position = position.clone();
        Ok(())
    }

    /// Continues from a position that counts other windows, as [`Loader::seek_share`].
    ///
    /// # Errors
    ///
    /// As [`Loader::seek_share`]; the loader then stays where it was.
    pub fn seek_share(
        &mut self,
        position: &Position,
        before: &OtherWindows,
    ) -> Result<(), DataError> {
        self.loader.seek_share(position, before)?;
        self.stop();
        self.position = self.loader.position();
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(Worker { batches, thread }) = self.worker.take() {
            // Nobody listens any more, so that a thread that waits to hand over ends.
            drop(batches);
            // A panic there was reported by `next_batch`, or concerns batches that nobody asked
            // for.
            let _ = thread.join();
        }
    }
}

impl Drop for BackgroundLoader {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(loader: Loader) -> Result<Worker, DataError> {
    let (sender, batches) = sync_channel(AHEAD);
    let thread = std::thread::Builder::new()
        .name("batches".to_owned())
        .spawn(move || prepare(loader, &sender))
        .map_err(|error| DataError::LoaderThread {
            problem: error.to_string(),
        })?;
    Ok(Worker { batches, thread })
}

fn prepare(mut loader: Loader, sender: &SyncSender<Prepared>) {
    loop {
        let prepared = loader.next_batch().map(|batch| (batch, loader.position()));
        let failed = prepared.is_err();
        if sender.send(prepared).is_err() || failed {
            return;
        }
    }
}
