//! A context and a continuation as tokens.

use crate::space::is_space;
use simattn_data::{DataError, Tokenizer};

/// What goes into a model, and how much of its end is scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The context's tokens, at least one, then the continuation's.
    pub ids: Vec<u32>,
    /// How many of the last ids are the continuation's; they may be none.
    pub scored: usize,
}

impl Pair {
    /// Encodes a pair by the rules of lm-evaluation-harness.
    ///
    /// White space at the end of the context moves to the front of the continuation. Both are
    /// encoded as one text; the continuation's tokens are those behind as many as the context alone
    /// has. Without a context, or where nothing of it remains, the context is the token `prefix`.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode(
        tokenizer: &Tokenizer,
        context: &str,
        continuation: &str,
        prefix: u32,
    ) -> Result<Self, DataError> {
        let kept = context.trim_end_matches(is_space);
        let moved = &context[kept.len()..];
        let whole = tokenizer.encode(&format!("{kept}{moved}{continuation}"))?;
        let before = tokenizer.encode(kept)?.len();
        if before == 0 {
            let scored = whole.len();
            return Ok(Self {
                ids: [vec![prefix], whole].concat(),
                scored,
            });
        }
        // A continuation may melt into the context's last token: then nothing of it is left.
        let scored = whole.len().saturating_sub(before);
        Ok(Self { scored, ids: whole })
    }

    /// The inputs of a model of at most `longest` places, cut on the left, and how many of the last
    /// places are scored. The last token is only predicted.
    pub fn inputs(&self, longest: usize) -> (&[u32], usize) {
        let start = self.ids.len().saturating_sub(longest + 1);
        let inputs = &self.ids[start..self.ids.len().saturating_sub(1).max(start)];
        (inputs, self.scored.min(inputs.len()))
    }

    /// The tokens that are scored in a model of at most `longest` places.
    pub fn targets(&self, longest: usize) -> &[u32] {
        let (_, scored) = self.inputs(longest);
        &self.ids[self.ids.len() - scored..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(context: &str, continuation: &str) -> Pair {
        Pair::encode(&Tokenizer::bytes(), context, continuation, 256).unwrap()
    }

    fn ids(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    #[test]
    fn white_space_moves_to_the_continuation() {
        let pair = encode("ab \n", " c");
        assert_eq!((pair.ids.clone(), pair.scored), (ids("ab \n c"), 4));
        assert_eq!(pair.targets(100), ids(" \n c"));
        let pair = encode("ab\u{a0}\u{1d}", "c");
        assert_eq!(pair.scored, "\u{a0}\u{1d}c".len());
    }

    #[test]
    fn an_empty_context_is_the_prefix() {
        for context in ["", " "] {
            let pair = encode(context, "c");
            assert_eq!(pair.ids, [vec![256], ids(&format!("{context}c"))].concat());
            assert_eq!(pair.scored, context.len() + 1);
        }
    }

    #[test]
    fn a_continuation_of_nothing_is_scored_nowhere() {
        let pair = encode("ab", "");
        assert_eq!((pair.scored, pair.targets(10).len()), (0, 0));
        assert_eq!(pair.inputs(10), (&ids("ab")[..1], 0));
        let pair = encode("", "");
        assert_eq!((pair.ids.clone(), pair.scored), (vec![256], 0));
        assert_eq!(pair.inputs(10).0.len(), 0);
    }

    #[test]
    fn long_pairs_are_cut_on_the_left() {
        let pair = encode("abcdef", "gh");
        // Places for three inputs: the last token is only a target.
        assert_eq!(pair.inputs(3), (&ids("efg")[..], 2));
        assert_eq!(pair.targets(3), ids("gh"));
        assert_eq!(pair.inputs(7), (&ids("abcdefg")[..], 2));
        // A continuation that is longer than the model.
        let pair = encode("a", "bcdef");
        assert_eq!(pair.inputs(2), (&ids("de")[..], 2));
        assert_eq!(pair.targets(2), ids("ef"));
    }
}
