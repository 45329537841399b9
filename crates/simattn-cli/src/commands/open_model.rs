//! Models that commands read.

use std::path::Path;

use burn::tensor::Device;
use simattn_train::model_folder::{self, SavedModel};

use crate::error::{CliError, input};
use crate::{device, room};

/// Opens a model folder where its weights find room, in this process's memory or first there.
pub(super) fn open_model(folder: &Path, device: &Device) -> Result<SavedModel, CliError> {
    // The file is read whole before the model is filled from it; a run without finished weights
    // has none here.
    let held = std::fs::metadata(folder.join("model.safetensors")).map_or(0, |file| file.len());
    let needed = match device::name(device) {
        "cpu" => 2 * u128::from(held),
        _ => u128::from(held),
    };
    let what = format!("opening {}", folder.display());
    room::check(&what, needed).map_err(input)?;
    model_folder::load(folder, device).map_err(input)
}
