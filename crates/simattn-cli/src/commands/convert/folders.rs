//! Folders with models, of either kind and wherever they are.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use simattn::Decoder;
use simattn::huggingface::{import, weight_bytes};
use simattn_data::{TextSettings, Tokenizer};
use simattn_hub::{HubError, ModelReference};

use super::super::open_model::open_model;
use crate::error::{CliError, input, input_if};
use crate::room;

/// The folder that an argument means: itself, or what it names on the Hub.
pub(super) fn local(source: &Path) -> Result<PathBuf, CliError> {
    let Some(reference) = source
        .to_str()
        .filter(|text| simattn_hub::is_reference(text))
    else {
        return Ok(source.to_owned());
    };
    let reference: ModelReference = reference.parse().map_err(input)?;
    simattn_hub::model_folder(&reference).map_err(input_if(HubError::is_input))
}

/// A Hugging Face folder's model, tokenizer and what it says of text, which must belong together.
pub(super) fn read_hf(
    source: &Path,
    device: &Device,
) -> Result<(Decoder, Tokenizer, TextSettings), CliError> {
    let needed = weight_bytes(source).map_err(input)?;
    room::check("this model", needed).map_err(input)?;
    let decoder = import(source, device).map_err(input)?.decoder;
    let rows = decoder.config().vocabulary;
    let text = TextSettings::from_hugging_face(source, rows).map_err(input)?;
    let tokenizer =
        Tokenizer::from_file_with(source.join("tokenizer.json"), &text).map_err(input)?;
    let ids = tokenizer.vocabulary();
    if rows < ids {
        return Err(CliError::Input(format!(
            "{}: the tokenizer has {ids} ids, the model {rows}; they do not belong together",
            source.display()
        )));
    }
    Ok((decoder, tokenizer, text))
}

/// Either kind of folder.
pub(super) fn read_either(
    folder: &Path,
    device: &Device,
) -> Result<(Decoder, Tokenizer), CliError> {
    if folder.join("config.json").is_file() {
        let (decoder, tokenizer, _) = read_hf(folder, device)?;
        return Ok((decoder, tokenizer));
    }
    let model = open_model(folder, device)?;
    Ok((model.decoder, model.tokenizer))
}
