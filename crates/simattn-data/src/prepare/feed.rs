//! From the thread that reads to the one that encodes.

use super::error::PrepareError;
use super::pieces::{Cutter, LARGEST};
use super::{OnBadInput, Side};
use crate::hash::seeded_hash;
use crate::reading::{Contents, Format, InputFile, Place, ReadError, Sink, Stop};
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
    /// A document that is held out, found again in what is trained on, and left out there.
    HeldOut { place: String },
}

/// Some megabytes of items; an error is the last thing that comes.
pub(super) type Chunk = Result<Vec<Item>, PrepareError>;

/// Collects documents and hands them over.
pub(super) struct Feed<'a> {
    sender: SyncSender<Chunk>,
    /// Bytes of text that are handed over at once.
    chunk_bytes: usize,
    cutter: Cutter,
    seed: u64,
    /// Hashes below it are held out.
    threshold: u64,
    /// Documents of the held-out files.
    contents: &'a Contents,
    /// The file that is being read.
    input: Option<&'a InputFile>,
    on_bad_input: OnBadInput,
    chunk: Vec<Item>,
    waiting: usize,
    /// The document that is being read, as far as it has not been cut.
    text: String,
    fate: Option<Fate>,
    /// Whether a piece of it was cut off.
    goes_on: bool,
    /// As far it was looked through for a place to cut it.
    seen: usize,
}

/// What becomes of a document.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept(Side),
    /// It is one of the held-out files' too.
    LeftOut,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        sender: SyncSender<Chunk>,
        chunk_bytes: usize,
        cutter: Cutter,
        (seed, validation_fraction): (u64, f64),
        on_bad_input: OnBadInput,
        contents: &'a Contents,
    ) -> Self {
        Self {
            sender,
            chunk_bytes,
            cutter,
            seed,
            // 2⁶⁴ is exact in float64, and a fraction is at most a half.
            threshold: (validation_fraction * 2f64.powi(64)) as u64,
            contents,
            input: None,
            on_bad_input,
            chunk: Vec::new(),
            waiting: 0,
            text: String::new(),
            fate: None,
            goes_on: false,
            seen: 0,
        }
    }

    /// The documents that follow are those of `input`.
    pub(super) fn begin(&mut self, input: &'a InputFile) {
        self.input = Some(input);
    }

    /// What becomes of the document whose first MiB, or whole, is in `text`.
    fn decide(&self) -> Fate {
        if self.input.is_some_and(|input| input.held_out) {
            return Fate::Kept(Side::Validation);
        }
        if self.contents.hold(&self.text) {
            return Fate::LeftOut;
        }
        let start = &self.text.as_bytes()[..self.text.len().min(HASHED)];
        Fate::Kept(if seeded_hash(self.seed, start) < self.threshold {
            Side::Validation
        } else {
            Side::Train
        })
    }

    /// Where the document is that ends before `after`.
    fn place(&self, after: Place) -> String {
        let Some(input) = self.input else {
            return String::new();
        };
        let path = input.path.display();
        match (input.format, after.line) {
            // At the end of a file, the next one begins.
            (_, 0) => path.to_string(),
            (Format::Parquet, row) => format!("{path}:row {row}"),
            (_, line) => format!("{path}:{line}"),
        }
    }

    fn cut(&mut self, end: Option<Place>) -> Result<(), Stop> {
        let fate = match self.fate {
            Some(fate) => fate,
            None => self.decide(),
        };
        self.fate = Some(fate);
        let side = match fate {
            Fate::Kept(side) => side,
            Fate::LeftOut => {
                self.text.clear();
                self.seen = 0;
                if let Some(after) = end {
                    let place = self.place(after);
                    self.push(place.len(), Item::HeldOut { place });
                }
                return self.hand_over_enough();
            }
        };
        let (mut ends, seen) = self.cutter.ends(&self.text, self.seen, end.is_some());
        self.seen = seen;
        if end.is_some() && ends.is_empty() {
            // The document was cut to its very end before that was known; its end of text is still
            // to come.
            ends.push(0);
        }
        let mut start = 0;
        let last = ends.len();
        for (index, to) in ends.into_iter().enumerate() {
            let text = self.text[start..to].to_owned();
            let end = end.filter(|_| index + 1 == last);
            let goes_on = self.goes_on;
            let piece = Item::Piece {
                text,
                goes_on,
                side,
                end,
            };
            self.push(to - start, piece);
            start = to;
            self.goes_on = true;
        }
        self.text.drain(..start);
        self.hand_over_enough()
    }

    fn push(&mut self, bytes: usize, item: Item) {
        self.waiting += bytes;
        self.chunk.push(item);
    }

    fn hand_over_enough(&mut self) -> Result<(), Stop> {
        if self.waiting >= self.chunk_bytes {
            self.hand_over()
        } else {
            Ok(())
        }
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
            let _ = self.sender.send(Err(error.into()));
        }
    }
}

impl Sink for Feed<'_> {
    fn text(&mut self, text: &str) -> Result<(), Stop> {
        self.text.push_str(text);
        if self.text.len() < LARGEST {
            return Ok(());
        }
        self.cut(None)
    }

    fn end(&mut self, after: Place) -> Result<(), Stop> {
        if self.fate.is_some() || !self.text.trim().is_empty() {
            self.cut(Some(after))?;
        }
        self.text.clear();
        self.fate = None;
        self.goes_on = false;
        self.seen = 0;
        Ok(())
    }

    fn bad(&mut self, path: &Path, unit: &str, number: u64, problem: String) -> Result<(), Stop> {
        let place = format!("{}:{unit}{number}", path.display());
        match self.on_bad_input {
            OnBadInput::Fail => Err(ReadError::Bad { place, problem }.into()),
            OnBadInput::Skip => {
                let bytes = place.len() + problem.len();
                self.push(bytes, Item::Bad { place, problem });
                self.hand_over_enough()
            }
        }
    }
}
