//! Whether an unfinished folder is as its journal says, before anything in it is changed.

use super::error::PrepareError;
use super::feed::Item;
use super::journal::{Folder, Journal, PartState};
use super::reader::read;
use super::{HELD_OUT_AGAIN, Job, OnBadInput, Side};
use crate::reading::{Contents, Format, InputFile, Packing, Place};
use crate::shards::{
    Entry, Growing, INDEX, Index, IndexedTokenizer, JOURNAL, Shard, ShardError, TokenShards, Width,
    shard_name,
};
use rayon::prelude::*;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What ids are made by, and how they are stored.
#[derive(Debug)]
pub(super) struct Ids {
    pub(super) tokenizer: IndexedTokenizer,
    pub(super) width: Width,
}

impl Ids {
    pub(super) fn of(job: &Job) -> Self {
        let tokenizer = IndexedTokenizer {
            fingerprint: job.tokenizer.fingerprint(),
            vocabulary: job.tokenizer.vocabulary(),
            end_of_text: job.tokenizer.end_of_text(),
        };
        Self {
            width: Width::for_vocabulary(tokenizer.vocabulary),
            tokenizer,
        }
    }
}

/// Holds a journal against itself, the inputs, and every shard that it tells of, byte for byte;
/// gives the growing shards of both parts.
///
/// # Errors
///
/// [`PrepareError::Journal`] and [`PrepareError::Unsound`] with what differs first.
pub(super) fn check(
    job: &Job,
    (files, contents): (&[InputFile], &Contents),
    folder: &Folder,
    journal: &Journal,
    ids: &Ids,
) -> Result<[Option<Growing>; 2], PrepareError> {
    let wrong = |problem: String| PrepareError::Journal {
        path: folder.path.join(JOURNAL),
        problem,
    };
    possible(job, journal).map_err(wrong)?;
    reachable(files, journal.place).map_err(wrong)?;
    let unsound = |source: ShardError| PrepareError::Unsound {
        path: folder.path.clone(),
        source,
    };
    for (_, part) in journal.parts() {
        finished(&folder.path, part, ids).map_err(unsound)?;
    }
    let grows = |(name, part): (&'static str, &PartState)| {
        let path = folder.path.join(shard_name(name, part.finished.len()));
        let check = |written| Growing::check(path, &ids.tokenizer, ids.width, written);
        part.growing
            .as_ref()
            .map(check)
            .transpose()
            .map_err(unsound)
    };
    let [train, validation] = journal.parts();
    let growing = [grows(train)?, grows(validation)?];
    if journal.is_without_sum() && journal.place != Place::default() {
        retrace(job, (files, contents), journal)?.map_err(wrong)?;
    }
    Ok(growing)
}

/// What a journal says that none can say.
fn possible(job: &Job, journal: &Journal) -> Result<(), String> {
    let begun = journal
        .parts()
        .iter()
        .any(|(_, part)| !part.finished.is_empty());
    // It is written when a folder is made, and then whenever a shard is finished.
    let growing = journal
        .parts()
        .iter()
        .any(|(_, part)| part.growing.is_some());
    let started = journal.place != Place::default() || journal.bad_inputs != 0 || growing;
    if begun != (journal.place != Place::default()) || started && !begun {
        return Err("its shards and its place do not belong together".to_owned());
    }
    if journal.is_without_sum() && journal.held_out_again != 0 {
        return Err("held-out documents, which that format does not count".to_owned());
    }
    for (name, part) in journal.parts() {
        for (number, entry) in part.finished.iter().enumerate() {
            let expected = shard_name(name, number);
            let Entry {
                file,
                tokens,
                documents,
                bytes,
                ..
            } = entry;
            if *file != expected {
                return Err(format!("the shard name {file:?} where {expected} belongs"));
            }
            let fits = (1..=*tokens).contains(documents) && bytes >= documents;
            if !fits || *tokens < job.shard_tokens {
                return Err(format!(
                    "{file} of {tokens} tokens, {documents} documents and {bytes} bytes"
                ));
            }
        }
        if let Some(written) = &part.growing {
            let fits = (1..=written.tokens).contains(&written.documents);
            if !fits || written.tokens >= job.shard_tokens {
                return Err(format!(
                    "{} unfinished tokens and {} documents of the {name} part",
                    written.tokens, written.documents
                ));
            }
            if written.sha256.is_none() != journal.is_without_sum() {
                return Err("an unfinished shard without a checksum".to_owned());
            }
        }
    }
    Ok(())
}

/// Whether a place is one between two documents of the inputs, as far as that can be told without
/// unpacking them.
fn reachable(files: &[InputFile], place: Place) -> Result<(), String> {
    let Place { file, offset, line } = place;
    let Some(input) = files.get(file) else {
        // Behind the last.
        return if file == files.len() && (offset, line) == (0, 0) {
            Ok(())
        } else {
            Err(format!(
                "input {} of {}",
                file.saturating_add(1),
                files.len()
            ))
        };
    };
    if input.packing != Packing::None || input.format == Format::Parquet || offset == 0 {
        return Ok(());
    }
    let name = input.path.display();
    if offset > input.bytes || line > offset {
        return Err(format!(
            "byte {offset} in line {line} of {name}, which has {}",
            input.bytes
        ));
    }
    let mut before = [0];
    let read = File::open(&input.path).and_then(|mut file| {
        file.seek(SeekFrom::Start(offset - 1))?;
        file.read_exact(&mut before)
    });
    match read {
        Ok(()) if before == *b"\n" || offset == input.bytes => Ok(()),
        Ok(()) => Err(format!("byte {offset} of {name}, which is within a line")),
        Err(error) => Err(format!("byte {offset} of {name}: {error}")),
    }
}

/// Whether the finished shards of a part are there, as they are listed, and every byte as it was
/// written.
fn finished(folder: &Path, part: &PartState, ids: &Ids) -> Result<(), ShardError> {
    let check = |entry: &Entry| -> Result<(), ShardError> {
        let shard = Shard::open(folder.join(&entry.file))?;
        entry.check(&shard, &ids.tokenizer, ids.width, JOURNAL)?;
        shard.verify(ids.tokenizer.vocabulary).map(drop)
    };
    // The first, in their order, that is wrong.
    let found: Vec<_> = part.finished.par_iter().map(check).collect();
    found.into_iter().collect()
}

/// What of the inputs went to a part.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Share {
    documents: u64,
    bytes: u64,
}

/// Reads the inputs up to the place of a journal and compares what there is with what the journal
/// says is in the shards. The inner error says what differs.
fn retrace(
    job: &Job,
    inputs: (&[InputFile], &Contents),
    journal: &Journal,
) -> Result<Result<(), String>, PrepareError> {
    let (mut shares, mut bad_inputs) = ([Share::default(); 2], 0);
    let mut held_out = None;
    let arrived = read(
        job,
        inputs,
        Place::default(),
        OnBadInput::Skip,
        &Arc::default(),
        |items| {
            for item in items {
                let (text, side, end) = match item {
                    Item::Piece {
                        text, side, end, ..
                    } => (text, side, end),
                    Item::Bad { .. } => {
                        bad_inputs += 1;
                        continue;
                    }
                    Item::HeldOut { place } => {
                        held_out.get_or_insert(place);
                        continue;
                    }
                };
                let share = match side {
                    Side::Train => &mut shares[0],
                    Side::Validation => &mut shares[1],
                };
                share.bytes += text.len() as u64;
                share.documents += u64::from(end.is_some());
                if end == Some(journal.place) {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        },
    )?;
    // The versions that wrote no sum compared names alone.
    if let Some(place) = held_out {
        return Ok(Err(format!(
            "{place} is held out under another name, and an earlier version trained on it"
        )));
    }
    if arrived.is_continue() {
        return Ok(Err("no document of the inputs ends at its place".to_owned()));
    }
    for ((name, part), found) in journal.parts().into_iter().zip(shares) {
        let growing = part.growing.as_ref();
        let sum = |of_entry: fn(&Entry) -> u64, of_growing: u64| {
            (part.finished.iter().map(of_entry)).try_fold(of_growing, u64::checked_add)
        };
        let noted = (
            sum(
                |entry| entry.documents,
                growing.map_or(0, |part| part.documents),
            ),
            sum(|entry| entry.bytes, growing.map_or(0, |part| part.bytes)),
        );
        if noted != (Some(found.documents), Some(found.bytes)) {
            return Ok(Err(format!(
                "the {name} shards do not hold the {} documents of {} bytes before its place",
                found.documents, found.bytes
            )));
        }
    }
    Ok(if bad_inputs == journal.bad_inputs {
        Ok(())
    } else {
        Err(format!(
            "{} bad lines left out, {bad_inputs} are before its place",
            journal.bad_inputs
        ))
    })
}

/// The index of a folder that lacks nothing but the removal of its journal; `None` where it is to
/// be written again.
pub(super) fn complete(
    folder: &Folder,
    journal: &Journal,
    ids: &Ids,
) -> Result<Option<Index>, PrepareError> {
    if !folder.path.join(INDEX).exists() {
        return Ok(None);
    }
    let whole = || -> Result<Index, ShardError> {
        let index = Index::read(&folder.path)?;
        for part in [&index.train, &index.validation] {
            TokenShards::of_part(&folder.path, &index, part)?.verify()?;
        }
        Ok(index)
    };
    let index = match whole() {
        Ok(index) => index,
        Err(error) if error.is_input() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let goes_on = |listed: &[Entry], noted: &PartState| listed.starts_with(&noted.finished);
    let fits = index.tokenizer == ids.tokenizer
        && index.width == ids.width
        && without_counts(&index.job) == journal.identity.to_json()
        && goes_on(&index.train.shards, &journal.train)
        && goes_on(&index.validation.shards, &journal.validation);
    Ok(fits.then_some(index))
}

/// What the index says of a job, without what came of it.
fn without_counts(job: &serde_json::Value) -> serde_json::Value {
    let mut job = job.clone();
    if let Some(fields) = job.as_object_mut() {
        fields.remove(HELD_OUT_AGAIN);
    }
    job
}
