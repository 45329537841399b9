//! Reading, encoding and writing, each at its own pace.

use super::error::PrepareError;
use super::feed::Item;
use super::identity::Identity;
use super::inputs::expand;
use super::journal::{Folder, Journal, PartState, json};
use super::parts::PartWriter;
use super::reader::read;
use super::soundness::{self, Ids};
use super::{HELD_OUT_AGAIN, Job, OnBadInput, PrepareObserver, Side};
use crate::error::DataError;
use crate::reading::{Contents, InputFile, Place};
use crate::shards::{INDEX, Index, PARTS, TOKENIZER};
use crate::tokenizer::Tokenizer;
use rayon::prelude::*;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What came out.
#[derive(Debug)]
pub struct Prepared {
    /// The folder's index.
    pub index: Index,
    /// Files that were read.
    pub files: usize,
    /// Tokens that were there already when this process began.
    pub resumed_tokens: u64,
    /// Documents that were left out of training because they are held out.
    pub held_out_again: u64,
}

/// Turns text into a folder of shards, in the current rayon pool, and continues what a killed
/// process began.
///
/// The shards are a function of the job and of the contents of its inputs, whatever the number of
/// threads and interruptions. Memory is bounded by the threads, not by the inputs.
///
/// # Errors
///
/// [`PrepareError`]; [`PrepareError::is_input`] says whether the user can correct it. The folder
/// then holds no index, and if no shard was finished and it was not there before, it is removed.
pub fn prepare(job: &Job, observer: &mut dyn PrepareObserver) -> Result<Prepared, PrepareError> {
    check(job)?;
    let found = expand(job.inputs, job.validation, job.field, job.out)?;
    for what in &found.passed_over {
        observer.on_passed_over(what);
    }
    let (files, new) = Identity::as_begun(job, found.files);
    for file in new {
        observer.on_note(&format!(
            "{}: not among the files with which an earlier version began the folder; left out",
            file.path.display()
        ));
    }
    let (folder, mut journal) = Folder::open(job.out, Identity::of(job, &files))?;
    let ids = Ids::of(job);
    let mut work = || match soundness::complete(&folder, &journal, &ids)? {
        Some(index) => Ok(Prepared {
            resumed_tokens: index.train.tokens + index.validation.tokens,
            index,
            files: files.len(),
            held_out_again: journal.held_out_again,
        }),
        None => run(job, &files, &folder, &mut journal, &ids, observer),
    };
    match work() {
        Ok(prepared) => {
            folder.close()?;
            Ok(prepared)
        }
        // As a killed process would leave it.
        Err(PrepareError::Stopped) => Err(PrepareError::Stopped),
        Err(error) => {
            folder.discard(&journal);
            Err(error)
        }
    }
}

fn check(job: &Job) -> Result<(), PrepareError> {
    if !(0.0..=0.5).contains(&job.validation_fraction) {
        return Err(PrepareError::OutOfRange {
            name: "a validation fraction",
            value: job.validation_fraction.to_string(),
            range: "0 to 0.5",
        });
    }
    if job.shard_tokens == 0 {
        return Err(PrepareError::OutOfRange {
            name: "shards",
            value: "0 tokens".to_owned(),
            range: "at least 1",
        });
    }
    Ok(())
}

fn run(
    job: &Job,
    files: &[InputFile],
    folder: &Folder,
    journal: &mut Journal,
    ids: &Ids,
    observer: &mut dyn PrepareObserver,
) -> Result<Prepared, PrepareError> {
    let contents = held_out(job, files)?;
    let [train, validation] = soundness::check(job, (files, &contents), folder, journal, ids)?;
    folder.write(TOKENIZER, job.tokenizer.to_json().as_bytes())?;
    folder.remove_index()?;
    let open = |name, noted: &PartState, growing| {
        let (tokenizer, finished) = (&ids.tokenizer, &noted.finished);
        PartWriter::open(&folder.path, name, tokenizer, ids.width, finished, growing)
    };
    let [train_name, validation_name] = PARTS;
    let mut writer = Writer {
        train: open(train_name, &journal.train, train)?,
        validation: open(validation_name, &journal.validation, validation)?,
        bad_inputs: journal.bad_inputs,
        held_out_again: journal.held_out_again,
        files,
        shard_tokens: job.shard_tokens,
        folder,
        journal,
    };
    let resumed_tokens = writer.tokens();
    let taken = Arc::new(AtomicU64::new(0));
    let total: u64 = files.iter().map(|file| file.bytes).sum();
    let place = writer.journal.place;
    let (bad, inputs) = (job.on_bad_input, (files, &contents));
    let _: ControlFlow<()> = read(job, inputs, place, bad, &taken, |items| {
        writer.write(items, job.tokenizer, observer)?;
        let bytes = taken.load(Ordering::Relaxed);
        match observer.on_progress(bytes, total, writer.tokens()) {
            ControlFlow::Continue(()) => Ok(ControlFlow::Continue(())),
            ControlFlow::Break(()) => Err(PrepareError::Stopped),
        }
    })?;
    let Writer {
        mut train,
        mut validation,
        bad_inputs,
        held_out_again,
        ..
    } = writer;
    for part in [&mut train, &mut validation] {
        if let Some(entry) = part.finish_shard()? {
            // The work is done: there is nothing left to break off.
            let _ = observer.on_shard(&entry.file, entry.tokens);
        }
    }
    if train.tokens() + validation.tokens() == 0 {
        return Err(PrepareError::NoDocuments { files: files.len() });
    }
    let mut how = journal.identity.to_json();
    if held_out_again > 0 {
        how[HELD_OUT_AGAIN] = held_out_again.into();
    }
    let index = Index::new(
        ids.tokenizer.clone(),
        ids.width,
        train.into_part(),
        validation.into_part(),
        bad_inputs,
        how,
    );
    let (train, validation) = (&index.train.shards, &index.validation.shards);
    folder.sweep(&train.iter().chain(validation).collect::<Vec<_>>())?;
    folder.write(INDEX, &json(&index))?;
    Ok(Prepared {
        index,
        files: files.len(),
        resumed_tokens,
        held_out_again,
    })
}

/// The documents of the held-out files, where any could stand elsewhere too.
fn held_out(job: &Job, files: &[InputFile]) -> Result<Contents, PrepareError> {
    if files.iter().all(|file| file.held_out) {
        return Ok(Contents::default());
    }
    let held_out = files.iter().filter(|file| file.held_out);
    let skip_bad = job.on_bad_input == OnBadInput::Skip;
    Ok(Contents::of(held_out, job.field, skip_bad)?)
}

/// Takes items in order to the shards of their parts.
struct Writer<'a> {
    train: PartWriter,
    validation: PartWriter,
    bad_inputs: u64,
    held_out_again: u64,
    files: &'a [InputFile],
    shard_tokens: u64,
    folder: &'a Folder,
    journal: &'a mut Journal,
}

impl Writer<'_> {
    fn tokens(&self) -> u64 {
        self.train.tokens() + self.validation.tokens()
    }

    fn write(
        &mut self,
        items: Vec<Item>,
        tokenizer: &Tokenizer,
        observer: &mut dyn PrepareObserver,
    ) -> Result<(), PrepareError> {
        let encoded: Vec<Result<Vec<u32>, DataError>> = items
            .par_iter()
            .map(|item| match item {
                Item::Piece { text, goes_on, .. } => {
                    if *goes_on {
                        tokenizer.encode_rest(text)
                    } else {
                        tokenizer.encode(text)
                    }
                }
                Item::Bad { .. } | Item::HeldOut { .. } => Ok(Vec::new()),
            })
            .collect();
        if let Some(at) = encoded.iter().position(Result::is_err) {
            let place = self.place_of(&items[at..]);
            let failed = encoded.into_iter().find_map(Result::err);
            return Err(failed.map_or(PrepareError::Stopped, |error| match error {
                DataError::Tokenizer { .. } => PrepareError::Tokenizer {
                    place,
                    problem: error.to_string(),
                },
                other => other.into(),
            }));
        }
        let encoded = encoded.into_iter().flatten();
        for (item, mut ids) in items.into_iter().zip(encoded) {
            let (text, side, end) = match item {
                Item::Bad { place, problem } => {
                    self.bad_inputs += 1;
                    observer.on_bad_input(&place, &problem);
                    continue;
                }
                Item::HeldOut { place } => {
                    self.held_out_again += 1;
                    observer.on_held_out(&place);
                    continue;
                }
                Item::Piece {
                    text, side, end, ..
                } => (text, side, end),
            };
            if end.is_some() {
                ids.push(tokenizer.end_of_text());
            }
            let part = match side {
                Side::Train => &mut self.train,
                Side::Validation => &mut self.validation,
            };
            part.push(&ids, text.len() as u64, end.is_some().into())?;
            if let Some(place) = end
                && part.growing_tokens() >= self.shard_tokens
            {
                let finished = part.finish_shard()?.cloned();
                self.note(place)?;
                if let Some(entry) = finished
                    && observer.on_shard(&entry.file, entry.tokens).is_break()
                {
                    return Err(PrepareError::Stopped);
                }
            }
        }
        Ok(())
    }

    /// In which file, and up to which line of it, the document ends whose pieces come first.
    fn place_of(&self, items: &[Item]) -> String {
        let end = items.iter().find_map(|item| match item {
            Item::Piece { end, .. } => *end,
            _ => None,
        });
        let Some(end) = end else {
            return "a document that is still being read".to_owned();
        };
        // After the last document of a text comes the next file.
        let file = end.file.saturating_sub(usize::from(end.line == 0));
        let path = match self.files.get(file) {
            Some(file) => file.path.display().to_string(),
            None => "an input".to_owned(),
        };
        match end.line {
            0 => path,
            line => format!("{path}:{line}"),
        }
    }

    /// Everything before `place` is in the shards: brings them and the journal to the disk.
    fn note(&mut self, place: Place) -> Result<(), PrepareError> {
        self.journal.train = self.train.state()?;
        self.journal.validation = self.validation.state()?;
        self.journal.place = place;
        self.journal.bad_inputs = self.bad_inputs;
        self.journal.held_out_again = self.held_out_again;
        self.folder.save(self.journal)
    }
}
