//! Stop strings: texts at which an answer ends, wherever tokens begin and end.

use thiserror::Error;

/// Stop strings that cannot be. `Display` is one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StopsError {
    /// It would stop everywhere.
    #[error("stop holds an empty text")]
    Empty,
    /// More than are looked for.
    #[error("stop holds {count} texts, more than {most}")]
    TooMany {
        /// How many.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// Longer than is looked for.
    #[error("stop holds a text of {bytes} bytes, more than {most}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// How long it may be.
        most: usize,
    },
}

/// Stop strings, and the text that may be the beginning of one.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    stops: Vec<String>,
    withheld: String,
}

impl Stops {
    /// How many there may be.
    pub const MOST: usize = 16;
    /// How many bytes one may have.
    pub const LONGEST: usize = 1024;

    /// Looks for these.
    ///
    /// # Errors
    /// Too many, or one that is empty or too long.
    pub fn new(stops: Vec<String>) -> Result<Self, StopsError> {
        if stops.len() > Self::MOST {
            return Err(StopsError::TooMany {
                count: stops.len(),
                most: Self::MOST,
            });
        }
        for stop in &stops {
            if stop.is_empty() {
                return Err(StopsError::Empty);
            }
            if stop.len() > Self::LONGEST {
                return Err(StopsError::TooLong {
                    bytes: stop.len(),
                    most: Self::LONGEST,
                });
            }
        }
        Ok(Self {
            stops,
            withheld: String::new(),
        })
    }

    /// Takes text and gives what can be released of it, and whether a stop was found after that.
    ///
    /// Of several the one that is complete first counts, and of those that are complete at the same
    /// character the one that begins first, so that it does not matter how the text is cut.
    pub fn push(&mut self, text: &str) -> (String, bool) {
        let searched = self.withheld.len();
        self.withheld.push_str(text);
        let ends = self
            .withheld
            .char_indices()
            .map(|(at, c)| at + c.len_utf8());
        for end in ends.filter(|&end| end > searched) {
            let before = &self.withheld[..end];
            let found = self
                .stops
                .iter()
                .filter(|stop| before.ends_with(stop.as_str()));
            if let Some(longest) = found.map(String::len).max() {
                let released = before[..end - longest].to_owned();
                self.withheld.clear();
                return (released, true);
            }
        }
        let kept = self.withheld.split_off(self.releasable());
        (std::mem::replace(&mut self.withheld, kept), false)
    }

    /// The text has ended: gives what was withheld.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.withheld)
    }

    /// Where the longest suffix begins that is the beginning of a stop.
    fn releasable(&self) -> usize {
        let text = &self.withheld;
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let nearest = text.len().saturating_sub(longest);
        let mut places = text.char_indices().map(|(at, _)| at);
        let begins = |at: &usize| {
            *at >= nearest && self.stops.iter().any(|stop| stop.starts_with(&text[*at..]))
        };
        places.find(begins).unwrap_or(text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stops(list: &[&str]) -> Stops {
        Stops::new(list.iter().map(|stop| (*stop).to_owned()).collect()).expect("usable")
    }

    #[test]
    fn only_the_beginning_of_a_stop_is_withheld() {
        let mut one = stops(&["\n\nQ:", "END"]);
        assert_eq!(one.push("a b"), ("a b".into(), false));
        assert_eq!(one.push(" E"), (" ".into(), false));
        assert_eq!(one.push("N\n"), ("EN".into(), false));
        assert_eq!(one.push("\n"), (String::new(), false));
        assert_eq!(one.push("\n"), ("\n".into(), false));
        assert_eq!(one.push("Q:x"), (String::new(), true));
        let mut ended = stops(&["END"]);
        assert_eq!(ended.push("the EN"), ("the ".into(), false));
        assert_eq!(ended.finish(), "EN");
    }

    #[test]
    fn the_stop_that_is_complete_first_wins() {
        assert_eq!(stops(&["bcd", "c"]).push("abcd"), ("ab".into(), true));
        assert_eq!(stops(&["c", "bc"]).push("abc"), ("a".into(), true));
        assert_eq!(stops(&["é"]).push("caféé"), ("caf".into(), true));
    }

    #[test]
    fn stops_that_cannot_be_are_refused() {
        let refused = |list: Vec<String>| Stops::new(list).map(|_| ()).expect_err("a refusal");
        assert_eq!(refused(vec![String::new()]), StopsError::Empty);
        let many = refused(vec!["x".into(); 17]);
        assert_eq!(
            many,
            StopsError::TooMany {
                count: 17,
                most: 16
            }
        );
        let long = refused(vec!["x".repeat(1025)]);
        assert_eq!(
            long.to_string(),
            "stop holds a text of 1025 bytes, more than 1024"
        );
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(
            text in "[abé]{0,30}",
            list in proptest::collection::vec("[abé]{1,4}", 0..4),
            cuts in proptest::collection::vec(0_usize..30, 0..6),
        ) {
            let list: Vec<&str> = list.iter().map(String::as_str).collect();
            let run = |pieces: Vec<String>| {
                let mut stops = stops(&list);
                let mut released = String::new();
                for piece in pieces {
                    let (text, stopped) = stops.push(&piece);
                    released.push_str(&text);
                    if stopped {
                        return (released, true);
                    }
                    // Never more than one stop less its last character.
                    let longest = list.iter().map(|stop| stop.len()).max().unwrap_or(0);
                    assert!(stops.withheld.len() < longest.max(1));
                }
                released.push_str(&stops.finish());
                (released, false)
            };
            let characters: Vec<char> = text.chars().collect();
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (characters.len() + 1)).collect();
            places.extend([0, characters.len()]);
            places.sort_unstable();
            let pieces = places.windows(2).map(|pair| characters[pair[0]..pair[1]].iter().collect());
            let (whole, stopped) = run(vec![text.clone()]);
            prop_assert_eq!(run(pieces.collect()), (whole.clone(), stopped));
            prop_assert!(list.iter().all(|stop| !whole.contains(stop)));
            prop_assert_eq!(stopped, list.iter().any(|stop| text.contains(stop)));
        }
    }
}
