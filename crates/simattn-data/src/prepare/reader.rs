//! The thread that reads documents, ahead of the work on them.

use super::error::PrepareError;
use super::feed::{Chunk, Feed, Item};
use super::pieces::Cutter;
use super::{Job, OnBadInput};
use crate::reading::{self, Contents, InputFile, Place, Stop};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

/// Bytes of text that are encoded at once, for every thread.
const CHUNK_PER_THREAD: usize = 1 << 20;
/// Chunks that wait at most, read but not yet encoded.
const AHEAD: usize = 1;

/// Reads documents from `place` on in a thread of its own and hands them to `take`, some megabytes
/// at a time, until there are no more or `take` breaks off, which is then given. Those of
/// `contents` that are to be trained on are left out.
pub(super) fn read<B>(
    job: &Job,
    (files, contents): (&[InputFile], &Contents),
    place: Place,
    on_bad_input: OnBadInput,
    taken: &Arc<AtomicU64>,
    mut take: impl FnMut(Vec<Item>) -> Result<ControlFlow<B>, PrepareError>,
) -> Result<ControlFlow<B>, PrepareError> {
    let (sender, chunks) = sync_channel(AHEAD);
    let feed = Feed::new(
        sender,
        CHUNK_PER_THREAD * rayon::current_num_threads(),
        Cutter::of(job.tokenizer),
        (job.seed, job.validation_fraction),
        on_bad_input,
        contents,
    );
    std::thread::scope(|scope| {
        let reading = taken.clone();
        std::thread::Builder::new()
            .name("documents".to_owned())
            .spawn_scoped(scope, move || {
                read_all(files, place, job.field, &reading, feed)
            })
            .map_err(|error| PrepareError::system(job.out, &error))?;
        // Dropped on every way out, which ends the reading.
        let chunks: Receiver<Chunk> = chunks;
        for chunk in &chunks {
            let taken = take(chunk?)?;
            if taken.is_break() {
                return Ok(taken);
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// The reading thread: every file from `place` on.
fn read_all<'a>(
    files: &'a [InputFile],
    place: Place,
    field: &str,
    taken: &Arc<AtomicU64>,
    mut feed: Feed<'a>,
) {
    let behind: u64 = files.iter().take(place.file).map(|file| file.bytes).sum();
    taken.store(behind, Ordering::Relaxed);
    let read_from = |feed: &mut Feed<'a>| -> Result<(), Stop> {
        for (index, input) in files.iter().enumerate().skip(place.file) {
            let from = if index == place.file {
                place
            } else {
                Place {
                    file: index,
                    ..Place::default()
                }
            };
            feed.begin(input);
            reading::read(input, from, field, taken, feed)?;
        }
        Ok(())
    };
    let ending = read_from(&mut feed);
    feed.close(ending);
}
