//! The embedded corpus: small English stories whose questions can only be answered by reading.
//!
//! A tale introduces a few people, places and things, lets them walk, take, give and put down, and
//! asks who has what, who is where, who gave what to whom, and why somebody feels as they do. The
//! answer is always given, or follows from what is given, earlier in the tale, so that a model must
//! look back 20 to 100 tokens to know it, while the wording is regular enough for its loss to fall
//! within a minute of training.
//!
//! The rooms: `lexicon` (words), `world` (what is true), `plot` (what happens), `wording` (how it
//! is told).

mod lexicon;
mod plot;
#[cfg(test)]
mod tests;
mod wording;
mod world;

use crate::hash::stable_hash;
use plot::{Beat, Plot};
use simattn_random::stream;
use wording::Narrator;

/// The side of the embedded corpus that a tale belongs to.
///
/// A hash of its text decides it, one tale in eight being validation: no text is ever on both
/// sides, whatever the seeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Tales to train on.
    Train,
    /// Tales held out.
    Validation,
}

impl Part {
    fn of(text: &str) -> Self {
        if stable_hash(text.as_bytes()).is_multiple_of(8) {
            Self::Validation
        } else {
            Self::Train
        }
    }
}

/// An unlimited list of tales; the tale of a seed, part and index is always the same.
///
/// Tales are ASCII and 250 to 600 bytes long. As an iterator it gives tale 0, 1, 2, … and never
/// ends.
///
/// ```
/// use simattn_data::{Part, Tales};
///
/// let tales = Tales::new(7, Part::Train);
/// let fifth = tales.get(5);
/// assert!(fifth.contains('?'));
/// assert_eq!(tales.into_iter().nth(5), Some(fifth));
/// ```
#[derive(Debug, Clone)]
pub struct Tales {
    seed: u64,
    part: Part,
    next: u64,
}

/// Bytes of a tale.
const LENGTHS: std::ops::RangeInclusive<usize> = 250..=600;

impl Tales {
    /// The tales of a seed on one side.
    pub fn new(seed: u64, part: Part) -> Self {
        Self {
            seed,
            part,
            next: 0,
        }
    }

    /// The tale at an index, without making those before it.
    pub fn get(&self, index: u64) -> String {
        self.tale(index).text()
    }

    fn tale(&self, index: u64) -> Tale {
        let part = match self.part {
            Part::Train => "train",
            Part::Validation => "validation",
        };
        let mut random = stream(self.seed, &format!("tales/{part}/{index}"));
        // Ends with certainty: each draw is kept with a probability above a tenth.
        loop {
            let plot = Plot::draw(&mut random);
            let mut narrator = Narrator::new(&plot, &mut random);
            let opening = narrator.opening();
            let told = plot.beats.iter().map(|&beat| narrator.tell(beat)).collect();
            let tale = Tale {
                plot,
                opening,
                told,
            };
            let text = tale.text();
            if LENGTHS.contains(&text.len()) && Part::of(&text) == self.part {
                return tale;
            }
        }
    }
}

impl Iterator for Tales {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let text = self.get(self.next);
        self.next = self.next.wrapping_add(1);
        Some(text)
    }
}

/// What is true, and the words of each beat.
struct Tale {
    plot: Plot,
    opening: &'static str,
    told: Vec<String>,
}

impl Tale {
    /// Questions stand on lines of their own.
    fn text(&self) -> String {
        let mut text = self.opening.to_owned();
        let mut after_question = false;
        for (beat, words) in self.plot.beats.iter().zip(&self.told) {
            let question = matches!(beat, Beat::Question(..));
            text.push(if question || after_question {
                '\n'
            } else {
                ' '
            });
            text.push_str(words);
            after_question = question;
        }
        text
    }
}
