//! Numbers that may not be finite: read from `null` as NaN; serde_json writes them as `null` by
//! itself.

use serde::{Deserializer, Serializer};
use simattn_train::exact_json;

pub(super) fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(*number)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    exact_json::number(deserializer)
}
