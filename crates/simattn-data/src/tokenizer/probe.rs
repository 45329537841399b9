//! Trying a tokenizer before it is trusted with work.

use super::foreign::{Foreign, contained};
use tokenizers::NormalizerWrapper;

/// Words, signs, spaces and scripts of many kinds.
const TEXT: &str = "Once upon a time, there was 1 lamp; it cost $3.50 (or 2,000 ¥)! Don't \u{201c}quote\u{201d} naïve façades… \
    \t\ttabs\n\nlines\r\nÀ bientôt ÅÅ ﬁ ﷺ １２３ ½ Ⅳ — Ελλάς, Привет, עברית, العربية, हिन्दी, ไทย, 漢字かなカナ한국어 🙂👩‍👩‍👧🏽 \
    e\u{301}\u{301} \u{0} \u{7f} \u{a0}\u{200b}\u{feff}\u{fffd} <s> </s> [UNK] ## ▁ Ġ <0x0A> http://x.y/z?a=b&c";

/// Ids that are decoded one by one, at most.
const IDS: u32 = 4096;

impl Foreign {
    /// Encodes and decodes what is likely to show where the file misleads the crate.
    ///
    /// # Errors
    ///
    /// What it breaks off on. That it refuses a text is none: a vocabulary need not have every
    /// character.
    pub(super) fn probe(&self) -> Result<(), String> {
        let long = "abc ".repeat(600);
        for text in [
            "", " ", "\n", "a", "é", " a", "a ", "  ", "aaaaaaaa", TEXT, &long,
        ] {
            let encode = |model: &tokenizers::Tokenizer| {
                let ids = model.encode_fast(text, false);
                Ok(ids.map(|ids| ids.get_ids().to_vec()).unwrap_or_default())
            };
            let ids = contained(|| encode(&self.model))?;
            contained(|| Ok(self.model.decode(&ids, true).unwrap_or_default()))?;
        }
        if self.has_character_map() {
            // It may mislead at any character.
            let all: Vec<String> = ('\u{1}'..='\u{ffff}').map(|c| format!("{c} ")).collect();
            contained(|| Ok(self.model.encode_fast(all.concat(), false).is_ok()))?;
        }
        let last = self.largest_id();
        let ids: Vec<u32> = (0..IDS.min(last))
            .chain(last.saturating_sub(IDS)..=last)
            .filter(|&id| self.has_token(id))
            .collect();
        contained(|| Ok(self.model.decode(&ids, true).is_ok()))?;
        for id in ids {
            contained(|| Ok(self.model.decode(&[id], false).is_ok()))?;
        }
        Ok(())
    }

    fn has_character_map(&self) -> bool {
        fn within(normalizer: &NormalizerWrapper) -> bool {
            match normalizer {
                NormalizerWrapper::Precompiled(_) => true,
                NormalizerWrapper::Sequence(steps) => steps.as_ref().iter().any(within),
                _ => false,
            }
        }
        self.model.get_normalizer().is_some_and(within)
    }
}
