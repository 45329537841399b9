//! The files of a Hugging Face folder that are read and written here.

/// The configuration's file.
pub(super) const CONFIG: &str = "config.json";
/// The weights' file where there is one.
pub(super) const WEIGHTS: &str = "model.safetensors";
/// Which file holds which tensor where there are several.
pub(super) const INDEX: &str = "model.safetensors.index.json";
