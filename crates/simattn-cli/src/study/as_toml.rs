//! A part of a configuration inside JSON, as the TOML text that it is elsewhere.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error};
use serde::ser::Error as _;
use serde::{Serialize, Serializer};

pub(super) fn serialize<T: Serialize, S: Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let text = toml::to_string(value).map_err(S::Error::custom)?;
    serializer.serialize_str(&text)
}

pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    let text = String::deserialize(deserializer)?;
    toml::from_str(&text).map_err(|error| D::Error::custom(error.message()))
}
