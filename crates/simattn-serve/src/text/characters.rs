//! Bytes to characters, as far as they are whole.

/// Bytes that come a token at a time, released as text as soon as they are whole characters. Bytes
/// that can be no character become U+FFFD, as [`String::from_utf8_lossy`] has it.
#[derive(Clone, Debug, Default)]
pub struct Characters {
    /// The beginning of a character, three bytes at most.
    unfinished: Vec<u8>,
}

impl Characters {
    /// Takes bytes and gives the characters that are whole with them.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.unfinished.extend(bytes);
        let mut text = String::new();
        let mut rest = self.unfinished.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    let Some(wrong) = error.error_len() else {
                        break;
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = &rest[wrong..];
                }
            }
        }
        self.unfinished = rest.to_vec();
        text
    }

    /// Whether a character has begun that is not whole.
    pub fn is_within(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// The text has ended: what is left of a character becomes U+FFFD.
    pub fn finish(&mut self) -> &'static str {
        let left = std::mem::take(&mut self.unfinished);
        if left.is_empty() { "" } else { "\u{fffd}" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_come_when_they_are_whole() {
        let mut characters = Characters::default();
        assert_eq!(characters.push(b"a\xf0\x9f"), "a");
        assert!(characters.is_within());
        assert_eq!(characters.push(b"\xa6"), "");
        assert_eq!(characters.push(b"\x8a b\xe2"), "🦊 b");
        assert_eq!(characters.push(b"\xffc\x80"), "\u{fffd}\u{fffd}c\u{fffd}");
        assert_eq!(characters.push(b"\xe2\x82"), "");
        assert_eq!(characters.finish(), "\u{fffd}");
        assert_eq!(characters.finish(), "");
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_whole(pieces in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..4),
                "[aé€🦊]".prop_map(String::into_bytes),
                "[é€🦊]".prop_map(|text| text.into_bytes()[..1].to_vec()),
            ], 0..12)) {
            let mut characters = Characters::default();
            let mut text: String = pieces.iter().map(|piece| characters.push(piece)).collect();
            text.push_str(characters.finish());
            let whole = pieces.concat();
            prop_assert_eq!(text, String::from_utf8_lossy(&whole));
        }
    }
}
