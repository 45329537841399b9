//! Which tokenizer a configuration asks for.

use crate::corpus::Corpus;
use crate::error::DataError;
use crate::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// A tokenizer in words: `bytes`, `bpe:4096` or the path of a tokenizer.json. In configuration
/// files it is that string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum TokenizerSpec {
    /// One token a byte: [`Tokenizer::bytes`].
    Bytes,
    /// Byte-level BPE learnt from the training part: [`Tokenizer::train_bpe`].
    Bpe {
        /// How many ids, end of text included.
        vocabulary: usize,
    },
    /// A tokenizer.json: [`Tokenizer::from_file`].
    File(PathBuf),
}

impl TokenizerSpec {
    /// Makes the tokenizer; BPE is learnt from the training part of the corpus alone.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::train_bpe`] and [`Tokenizer::from_file`].
    pub fn build(&self, corpus: &Corpus) -> Result<Tokenizer, DataError> {
        match self {
            Self::Bytes => Ok(Tokenizer::bytes()),
            Self::Bpe { vocabulary } => Tokenizer::train_bpe(&corpus.train, *vocabulary),
            Self::File(path) => Tokenizer::from_file(path),
        }
    }
}

impl FromStr for TokenizerSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let wrong = |problem: String| DataError::TokenizerSpec {
            text: text.to_owned(),
            problem,
        };
        match (text, text.strip_prefix("bpe:")) {
            ("", _) => Err(wrong("it is empty".to_owned())),
            ("bytes", _) => Ok(Self::Bytes),
            ("bpe", _) => Err(wrong("the size of the vocabulary is missing".to_owned())),
            (_, Some(size)) => match size.parse() {
                Ok(vocabulary) => Ok(Self::Bpe { vocabulary }),
                Err(error) => Err(wrong(format!("the size of the vocabulary: {error}"))),
            },
            _ => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for TokenizerSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => out.write_str("bytes"),
            Self::Bpe { vocabulary } => write!(out, "bpe:{vocabulary}"),
            Self::File(path) => path.display().fmt(out),
        }
    }
}

impl TryFrom<String> for TokenizerSpec {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<TokenizerSpec> for String {
    fn from(spec: TokenizerSpec) -> Self {
        spec.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications_are_their_strings() {
        for (text, spec) in [
            ("bytes", TokenizerSpec::Bytes),
            ("bpe:4096", TokenizerSpec::Bpe { vocabulary: 4096 }),
            (
                "models/gpt2/tokenizer.json",
                TokenizerSpec::File("models/gpt2/tokenizer.json".into()),
            ),
        ] {
            assert_eq!(text.parse::<TokenizerSpec>().unwrap(), spec);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<TokenizerSpec>(&json).unwrap(), spec);
        }
    }

    #[test]
    fn wrong_specifications_say_what_to_write() {
        for text in ["", "bpe", "bpe:", "bpe:many", "bpe:-1"] {
            let error = text.parse::<TokenizerSpec>().unwrap_err().to_string();
            assert!(error.contains("write bytes, bpe:4096 or"), "{error}");
            assert!(!error.contains('\n'));
        }
    }
}
