//! The character that breaks special names in the texts of messages.

use super::Specials;

/// A character that no message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(char);

impl Mark {
    /// One of the code points that stand for no character, which is in none of `texts`.
    pub(super) fn absent_from<'a>(texts: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut free: Vec<char> = ('\u{fdd0}'..='\u{fdef}').collect();
        for text in texts {
            // Cheaper than looking for each of them.
            if text.contains(|c| ('\u{fdd0}'..='\u{fdef}').contains(&c)) {
                free.retain(|&c| !text.contains(c));
            }
        }
        free.first().map(|&c| Self(c))
    }

    /// The text with the mark after the first character of every special name in it, and of what
    /// may become one with the text that follows.
    pub(super) fn break_names(self, text: &str, specials: &Specials) -> String {
        let mut marked = String::with_capacity(text.len());
        for (at, c) in text.char_indices() {
            marked.push(c);
            if specials.may_begin(&text[at..]) {
                marked.push(self.0);
            }
        }
        marked
    }

    /// The text as it was.
    pub(super) fn remove(self, text: &str) -> String {
        text.replace(self.0, "")
    }
}
