//! The text of an answer, token by token.

use super::{Characters, Stops, Vocabulary};
use crate::sampling::Logprobs;

/// A token of an answer and where its text begins.
#[derive(Clone, Debug, PartialEq)]
pub struct TextToken {
    /// The token.
    pub id: u32,
    /// How likely it was, where that was asked for.
    pub logprobs: Option<Logprobs>,
    /// Characters of the answer before it.
    pub offset: usize,
}

/// What can be shown of an answer after one more token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Released {
    /// Text after what was released before.
    pub text: String,
    /// Tokens whose text is released with it.
    pub tokens: Vec<TextToken>,
    /// Whether a stop string follows, and the answer ends here.
    pub stopped: bool,
}

/// Turns the tokens of one answer into text.
#[derive(Clone, Debug)]
pub struct Output {
    characters: Characters,
    stops: Stops,
    /// Characters that came from tokens, and that were released.
    written: usize,
    released: usize,
    waiting: Vec<TextToken>,
}

impl Output {
    /// The text up to the first of these stops, its offsets from `offset` on.
    pub fn new(stops: Stops, offset: usize) -> Self {
        Self {
            characters: Characters::default(),
            stops,
            written: offset,
            released: offset,
            waiting: Vec::new(),
        }
    }

    /// The same after a text that may have ended within a character.
    pub fn after(mut self, characters: Characters) -> Self {
        self.characters = characters;
        self
    }

    /// Takes a token.
    pub fn push(
        &mut self,
        id: u32,
        logprobs: Option<Logprobs>,
        vocabulary: &Vocabulary,
    ) -> Released {
        self.waiting.push(TextToken {
            id,
            logprobs,
            offset: self.written,
        });
        let text = self.characters.push(vocabulary.bytes(id));
        self.written += text.chars().count();
        let (text, stopped) = self.stops.push(&text);
        self.release(text, stopped)
    }

    /// Takes the token at which the answer ends, which adds no text.
    pub fn push_end(&mut self, id: u32, logprobs: Option<Logprobs>) {
        self.waiting.push(TextToken {
            id,
            logprobs,
            offset: self.written,
        });
    }

    /// The answer has ended by itself.
    pub fn finish(&mut self) -> Released {
        let last = self.characters.finish();
        let (mut text, stopped) = self.stops.push(last);
        if !stopped {
            text.push_str(&self.stops.finish());
        }
        let mut released = self.release(text, stopped);
        if !stopped {
            released.tokens.append(&mut self.waiting);
        }
        released
    }

    fn release(&mut self, text: String, stopped: bool) -> Released {
        self.released += text.chars().count();
        // A token whose text begins where the released text ends has shown nothing yet.
        let shown = |token: &TextToken| token.offset < self.released;
        let count = self.waiting.iter().take_while(|token| shown(token)).count();
        let whole = self.released == self.written && !self.characters.is_within() && !stopped;
        let count = if whole { self.waiting.len() } else { count };
        Released {
            text,
            tokens: self.waiting.drain(..count).collect(),
            stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use simattn_data::Tokenizer;

    #[test]
    fn tokens_are_released_with_their_text() {
        let vocabulary = Vocabulary::new(&Tokenizer::bytes());
        let stops = Stops::new(vec!["xyz".to_owned()]).expect("usable");
        let mut output = Output::new(stops, 3);
        let mut push = |byte: u8| {
            let released = output.push(u32::from(byte), None, &vocabulary);
            let offsets = released.tokens.iter().map(|token| token.offset).collect();
            (released.text, offsets, released.stopped)
        };
        let nothing = || (String::new(), Vec::<usize>::new(), false);
        assert_eq!(push(b'a'), ("a".into(), vec![3], false));
        assert_eq!(push(0xc3), nothing());
        assert_eq!(push(0xa9), ("é".into(), vec![4, 4], false));
        assert_eq!(push(b'x'), nothing());
        assert_eq!(push(b'y'), nothing());
        assert_eq!(push(b'a'), ("xya".into(), vec![5, 6, 7], false));
        assert_eq!(push(b'x'), nothing());
        assert_eq!(push(b'y'), nothing());
        assert_eq!(push(b'z'), (String::new(), vec![], true));
    }

    #[test]
    fn the_end_releases_what_was_withheld() {
        let vocabulary = Vocabulary::new(&Tokenizer::bytes());
        let stops = Stops::new(vec!["xyz".to_owned()]).expect("usable");
        let mut output = Output::new(stops, 0);
        for byte in [b'x', 0xe2, 0x82] {
            output.push(u32::from(byte), None, &vocabulary);
        }
        // The end of text has no text and is a token all the same.
        output.push(256, None, &vocabulary);
        let last = output.finish();
        assert_eq!(last.text, "x\u{fffd}");
        assert_eq!(last.tokens.len(), 4);
        assert_eq!(vocabulary.shown(256), "<|endoftext|>");
        assert_eq!(vocabulary.shown(0xe2), "bytes:\\xe2");
    }
}
