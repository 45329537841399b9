//! A tokenizer.json to a tokenizer.

use super::Tokenizer;
use super::foreign::Foreign;
use crate::byte_level::tokenizer_json;
use crate::error::DataError;
use crate::text_settings::TextSettings;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// Names of the token that closes a document, the first that a tokenizer has being taken.
const END_OF_TEXT_NAMES: &[&str] = &[
    "<|endoftext|>",
    "</s>",
    "<eos>",
    "<|end_of_text|>",
    "[EOS]",
    "<EOT>",
];

/// Larger files are not read: the largest vocabularies take some tens of megabytes.
const LARGEST_FILE: u64 = 1 << 30;

impl Tokenizer {
    /// A Hugging Face tokenizer.json, or what [`Tokenizer::save`] wrote.
    ///
    /// The end of text is the first of `<|endoftext|>`, `</s>`, `<eos>`, `<|end_of_text|>`, `[EOS]`
    /// and `<EOT>` among the added tokens; where there is none, the `eos_token_id` of a
    /// `generation_config.json` or `config.json` beside the file, or what a [`TextSettings`] beside
    /// it says, whose ids are not read from text either. Truncation, padding and dropout that the
    /// file asks for are switched off.
    ///
    /// # Errors
    ///
    /// A file that is missing, unreadable or no tokenizer.json, or a tokenizer without end of text.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let (json, origin) = (read(path)?, path.display().to_string());
        let folder = path.parent().unwrap_or(Path::new(""));
        let own = TextSettings::from_folder(folder, usize::MAX)?;
        if !own.is_empty() {
            return Self::from_json_with(&json, &origin, &own);
        }
        match TextSettings::from_hugging_face(folder, usize::MAX) {
            Ok(beside) => Self::from_json_with(&json, &origin, &beside),
            // What else lies there need not be understood, unless the end of text has to come from
            // it.
            Err(error) => match Self::from_json(&json, &origin) {
                Err(DataError::NoEndOfText { .. }) => Err(error),
                result => result,
            },
        }
    }

    /// As [`Tokenizer::from_file`], of a model with these settings: what ends its texts is never
    /// read from text either, and closes documents where the tokenizer.json names no token for
    /// that. No other file is looked at.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_file`].
    pub fn from_file_with(path: impl AsRef<Path>, text: &TextSettings) -> Result<Self, DataError> {
        let path = path.as_ref();
        Self::from_json_with(&read(path)?, &path.display().to_string(), text)
    }

    /// A tokenizer from the bytes of a tokenizer.json by itself; `origin` names them in errors.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_file`].
    pub fn from_json(json: &[u8], origin: &str) -> Result<Self, DataError> {
        Self::from_json_with(json, origin, &TextSettings::default())
    }

    /// The same of a model with these settings, as [`Tokenizer::from_file_with`].
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_file`].
    pub fn from_json_with(
        json: &[u8],
        origin: &str,
        text: &TextSettings,
    ) -> Result<Self, DataError> {
        let unusable = |problem: String| DataError::TokenizerFile {
            origin: origin.to_owned(),
            problem,
        };
        let value: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| unusable(error.to_string()))?;
        if value == tokenizer_json(&[]) {
            return Ok(Self::bytes());
        }
        let mut model = Foreign::read(json, &value).map_err(unusable)?;
        let named = END_OF_TEXT_NAMES
            .iter()
            .find_map(|name| model.added_id(name));
        let mut ends = text.ends().to_vec();
        if ends.is_empty() {
            ends.extend(text.end_name().and_then(|name| model.token_id(name)));
        }
        let known = || ends.iter().copied().find(|&id| model.has_token(id));
        let end_of_text = named.or_else(known).ok_or_else(|| DataError::NoEndOfText {
            origin: origin.to_owned(),
            tried: END_OF_TEXT_NAMES.join(", "),
        })?;
        // Ids may have gaps; an embedding needs a row for the largest.
        let largest = model.largest_id();
        if largest >= i32::MAX as u32 {
            return Err(unusable(format!(
                "it has the token id {largest}, beyond 2^31"
            )));
        }
        ends.push(end_of_text);
        model.keep_from_text(&value, &ends).map_err(unusable)?;
        model.probe().map_err(unusable)?;
        Ok(Self {
            json: value.to_string(),
            model: Some(Arc::new(model)),
            vocabulary: largest as usize + 1,
            end_of_text,
            names_end: named.is_some(),
        })
    }
}

/// The bytes of a file.
fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let unreadable = |problem: String| DataError::Unreadable {
        path: path.to_owned(),
        problem,
    };
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => DataError::Missing {
            path: path.to_owned(),
        },
        _ => unreadable(error.to_string()),
    })?;
    let mut bytes = Vec::new();
    let mut limited = file.take(LARGEST_FILE + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > LARGEST_FILE {
        Err(unreadable(
            "more than 1 GiB, too large for a tokenizer.json".to_owned(),
        ))
    } else {
        Ok(bytes)
    }
}
