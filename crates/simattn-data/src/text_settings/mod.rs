//! What a model's folder says about text beside its tokenizer: the ids that begin, end and fill it,
//! and chat templates.

mod error;
mod export;
mod file_names;
mod ids;
mod read;
mod templates;

use crate::error::DataError;
use crate::tokenizer::Tokenizer;
use file_names::{CONFIG, GENERATION, SPECIAL_TOKENS, TEMPLATE_JSON, TOKENIZER_CONFIG, is_known};
use ids::Ids;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// The file of our model folders that holds a [`TextSettings`]. A folder without it says nothing of
/// the kind.
pub const TEXT_SETTINGS: &str = "text.json";

/// The version of the file's form.
const FORMAT: u32 = 1;

/// What a Hugging Face folder says about text beside its tokenizer.json, kept word for word, so
/// that it goes back as it came.
///
/// It is read from such a folder ([`TextSettings::from_hugging_face`]), kept in ours as
/// [`TEXT_SETTINGS`] ([`TextSettings::from_folder`]), and written into an exported one
/// ([`TextSettings::config_fields`], [`TextSettings::files`]). Everything that is asked of it was
/// checked when it was read: ids are rows of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextSettings {
    /// The fields of `config.json` that name ids, as they stand there.
    config: Map<String, Value>,
    /// Names and contents of the files beside it.
    files: BTreeMap<String, String>,
    /// What both say.
    ids: Ids,
    /// The token that ends a text, as the tokenizer's own configuration spells it.
    end_name: Option<String>,
    /// Tokens by what they are for, as chat templates call them.
    named: BTreeMap<String, String>,
    templates: Vec<(String, String)>,
}

/// The form of [`TEXT_SETTINGS`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    #[serde(default)]
    config: Map<String, Value>,
    #[serde(default)]
    files: BTreeMap<String, String>,
}

impl TextSettings {
    /// Reads the settings in a Hugging Face folder of a model with `vocabulary` rows.
    ///
    /// # Errors
    ///
    /// [`DataError::TextSettings`] for an id that is no row of the model, or a file that does not
    /// have its form.
    pub fn from_hugging_face(folder: &Path, vocabulary: usize) -> Result<Self, DataError> {
        let config = read::config_ids(folder)?;
        let files = read::files(folder)?;
        Self::checked(config, files, vocabulary, &|name| folder.join(name))
    }

    /// Reads [`TEXT_SETTINGS`] of one of our folders, whose model has `vocabulary` rows; empty
    /// where there is none.
    ///
    /// # Errors
    ///
    /// As [`TextSettings::from_hugging_face`].
    pub fn from_folder(folder: &Path, vocabulary: usize) -> Result<Self, DataError> {
        let path = folder.join(TEXT_SETTINGS);
        let Some(text) = read::optional(&path)? else {
            return Ok(Self::default());
        };
        Self::from_json(&text, &path, vocabulary)
    }

    /// Reads what [`TextSettings::to_json`] gave; `path` names it in errors.
    ///
    /// # Errors
    ///
    /// As [`TextSettings::from_hugging_face`].
    pub fn from_json(text: &str, path: &Path, vocabulary: usize) -> Result<Self, DataError> {
        let wrong = |problem: String| error::wrong(path, "format", problem);
        let value: Value =
            serde_json::from_str(text).map_err(|error| error::no_json(path, &error))?;
        match value["format"].as_u64() {
            Some(format) if format > u64::from(FORMAT) => {
                return Err(wrong(format!(
                    "= {format} is of a newer simattn, which has to read it"
                )));
            }
            _ => {}
        }
        let stored: Stored = serde_json::from_value(value)
            .map_err(|error| wrong(format!("is not understood: {error}")))?;
        if let Some(name) = stored.files.keys().find(|name| !is_known(name)) {
            let name: String = name.chars().take(80).collect();
            return Err(error::wrong(
                path,
                "files",
                format!("holds {name:?}, which is none of those that are kept"),
            ));
        }
        if let Some(field) = stored
            .config
            .keys()
            .find(|field| !ids::FIELDS.contains(&field.as_str()))
        {
            let field: String = field.chars().take(80).collect();
            return Err(error::wrong(
                path,
                "config",
                format!("holds {field:?}, which names no id"),
            ));
        }
        Self::checked(stored.config, stored.files, vocabulary, &|_| {
            path.to_owned()
        })
    }

    /// What says no more than which id ends a text.
    pub fn ending_with(id: u32) -> Self {
        let mut settings = Self::default();
        settings.config.insert(ids::END.to_owned(), id.into());
        settings.ids.end = vec![id];
        settings
    }

    /// `place` gives the path of a file for errors.
    fn checked(
        config: Map<String, Value>,
        files: BTreeMap<String, String>,
        vocabulary: usize,
        place: &dyn Fn(&str) -> std::path::PathBuf,
    ) -> Result<Self, DataError> {
        let object = |name: &str| -> Result<Map<String, Value>, DataError> {
            match files.get(name) {
                Some(text) => read::object(text, &place(name)),
                None => Ok(Map::new()),
            }
        };
        let generation = object(GENERATION)?;
        let ids = Ids::from_fields(&generation, vocabulary, &place(GENERATION))?
            .over(Ids::from_fields(&config, vocabulary, &place(CONFIG))?);
        let (own, special) = (object(TOKENIZER_CONFIG)?, object(SPECIAL_TOKENS)?);
        let end_name = read::token_name(&own, "eos_token", &place(TOKENIZER_CONFIG))?.or(
            read::token_name(&special, "eos_token", &place(SPECIAL_TOKENS))?,
        );
        let named = read::named_tokens(&[(&own, TOKENIZER_CONFIG), (&special, SPECIAL_TOKENS)]);
        let templates = templates::all(&files, &own, &object(TEMPLATE_JSON)?, place)?;
        Ok(Self {
            config,
            files,
            ids,
            end_name,
            named,
            templates,
        })
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.config.is_empty() && self.files.is_empty()
    }

    /// The id in front of a text, as `generation_config.json` says, or else `config.json`.
    pub fn begin(&self) -> Option<u32> {
        self.ids.begin
    }

    /// Every id that ends a text, as `generation_config.json` says, or else `config.json`; none
    /// where neither does.
    pub fn ends(&self) -> &[u32] {
        &self.ids.end
    }

    /// The id that fills up a batch, likewise.
    pub fn padding(&self) -> Option<u32> {
        self.ids.padding
    }

    /// The ids at which a generation ends: [`TextSettings::ends`]; where there are none, the token
    /// that the tokenizer's configuration names; where it names none either, the tokenizer's [end
    /// of text](Tokenizer::end_of_text).
    pub fn generation_ends(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        if !self.ids.end.is_empty() {
            return self.ids.end.clone();
        }
        let named = self
            .end_name
            .as_deref()
            .and_then(|name| tokenizer.token_id(name));
        vec![named.unwrap_or_else(|| tokenizer.end_of_text())]
    }

    /// The token that ends a text, as the tokenizer's configuration spells it.
    pub(crate) fn end_name(&self) -> Option<&str> {
        self.end_name.as_deref()
    }

    /// Tokens by what they are for, such as `bos_token`, as chat templates refer to them.
    pub fn named_tokens(&self) -> &BTreeMap<String, String> {
        &self.named
    }

    /// Names and texts of the chat templates; the one without a name of its own is called
    /// "default".
    pub fn chat_templates(&self) -> &[(String, String)] {
        &self.templates
    }

    /// The chat template called "default".
    pub fn chat_template(&self) -> Option<&str> {
        let mut templates = self.templates.iter();
        let (_, text) = templates.find(|(name, _)| name == templates::DEFAULT)?;
        Some(text)
    }

    /// The contents of [`TEXT_SETTINGS`].
    pub fn to_json(&self) -> String {
        let value = serde_json::json!({
            "format": FORMAT,
            "config": self.config,
            "files": self.files,
        });
        format!("{value:#}\n")
    }
}

#[cfg(test)]
mod tests;
