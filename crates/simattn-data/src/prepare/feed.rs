//! From the thread that reads to the one that encodes.

use super::error::PrepareError;
use super::pieces::{Cutter, LARGEST};
use super::{OnBadInput, Place, Side};
use crate::hash::seeded_hash;
use std::path::Path;
use std::sync::mpsc::SyncSender;

/// Bytes of a document that decide its side.
const HASHED: usize = LARGEST;

/// What is handed over, in the order of the inputs.
#[derive(Debug)]
pub(super) enum Item {
    /// A piece of a document.
    Piece {
        text: String,
        /// Whether it is not the document's first.
        goes_on: bool,
        side: Side,
        /// Behind the document, where the piece is its last.
        end: Option<Place>,
    },
    /// Something that was left out.
    Bad { place: String, problem: String },
}

/// Some megabytes of items; an error is the last thing that comes.
pub(super) type Chunk = Result<Vec<Item>, PrepareError>;

/// Why the reading thread ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// To be handed over.
    Error(PrepareError),
    /// Nobody listens any more.
    Unheard,
}

impl From<PrepareError> for Stop {
    fn from(error: PrepareError) -> Self {
        Self::Error(error)
    }
}

/// Collects documents and hands them over.
pub(super) struct Feed {
    sender: SyncSender<Chunk>,
    /// Bytes of text that are handed over at once.
    chunk_bytes: usize,
    cutter: Cutter,
    seed: u64,
    /// Hashes below it are held out.
    threshold: u64,
    /// Whether every document is, whatever its hash.
    held_out: bool,
    on_bad_input: OnBadInput,
    chunk: Vec<Item>,
    waiting: usize,
    /// The document that is being read, as far as it has not been cut.
    text: String,
    side: Option<Side>,
    /// Whether a piece of it was cut off.
    goes_on: bool,
    /// As far it was looked through for a place to cut it.
    seen: usize,
}

impl Feed {
    pub(super) fn new(
        sender: SyncSender<Chunk>,
        chunk_bytes: usize,
        cutter: Cutter,
        (seed, validation_fraction): (u64, f64),
        on_bad_input: OnBadInput,
    ) -> Self {
        Self {
            sender,
            chunk_bytes,
            cutter,
            seed,
            // 2⁶⁴ is exact in float64, and a fraction is at most a half.
            threshold: (validation_fraction * 2f64.powi(64)) as u64,
            held_out: false,
            on_bad_input,
            chunk: Vec::new(),
            waiting: 0,
            text: String::new(),
            side: None,
            goes_on: false,
            seen: 0,
        }
    }

    /// Whether the documents that follow are held out, whatever their hashes.
    pub(super) fn hold_out(&mut self, held_out: bool) {
        self.held_out = held_out;
    }

    /// More of the current document.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Stop> {
        self.text.push_str(text);
        if self.text.len() < LARGEST {
            return Ok(());
        }
        self.cut(None)
    }

    /// The current document ends here. One of white space alone is left out.
    pub(super) fn end(&mut self, after: Place) -> Result<(), Stop> {
        if self.side.is_some() || !self.text.trim().is_empty() {
            self.cut(Some(after))?;
        }
        self.text.clear();
        self.side = None;
        self.goes_on = false;
        self.seen = 0;
        Ok(())
    }

    /// A line or row that cannot be read.
    pub(super) fn bad(
        &mut self,
        path: &Path,
        unit: &str,
        number: u64,
        problem: String,
    ) -> Result<(), Stop> {
        let place = format!("{}:{unit}{number}", path.display());
        match self.on_bad_input {
            OnBadInput::Fail => Err(PrepareError::BadInput { place, problem }.into()),
            OnBadInput::Skip => {
                self.chunk.push(Item::Bad { place, problem });
                Ok(())
            }
        }
    }

    fn cut(&mut self, end: Option<Place>) -> Result<(), Stop> {
        let side = *self.side.get_or_insert_with(|| {
            let start = &self.text.as_bytes()[..self.text.len().min(HASHED)];
            match self.held_out || seeded_hash(self.seed, start) < self.threshold {
                true => Side::Validation,
                false => Side::Train,
            }
        });
        let (mut ends, seen) = self.cutter.ends(&self.text, self.seen, end.is_some());
        self.seen = seen;
        if end.is_some() && ends.is_empty() {
            // The document was cut to its very end before that was known; its end of text is still to come.
            ends.push(0);
        }
        let mut start = 0;
        let last = ends.len();
        for (index, to) in ends.into_iter().enumerate() {
            let text = self.text[start..to].to_owned();
            self.waiting += text.len();
            self.chunk.push(Item::Piece {
                text,
                goes_on: self.goes_on,
                side,
                end: end.filter(|_| index + 1 == last),
            });
            start = to;
            self.goes_on = true;
        }
        self.text.drain(..start);
        if self.waiting >= self.chunk_bytes {
            self.hand_over()?;
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Stop> {
        self.waiting = 0;
        let chunk = std::mem::take(&mut self.chunk);
        self.sender.send(Ok(chunk)).map_err(|_| Stop::Unheard)
    }

    /// Hands over what waits, and the error that ended the reading.
    pub(super) fn close(mut self, ending: Result<(), Stop>) {
        // Documents before the place of an error are whole, and need not be read again.
        if self.hand_over().is_ok()
            && let Err(Stop::Error(error)) = ending
        {
            // Where nobody listens, nobody needs to know.
            let _ = self.sender.send(Err(error));
        }
    }
}
