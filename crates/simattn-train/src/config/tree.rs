//! A tree of values in which some were given as text on the command line, and what they are is
//! known only when a field of some type takes them.

use std::collections::BTreeMap;

use serde::de::value::{MapDeserializer, StringDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

/// Fields by their names.
pub(super) type Tree = BTreeMap<String, Node>;

/// A value as it was given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Given {
    /// As written.
    pub(super) text: String,
    /// As TOML, where it is that.
    pub(super) value: Option<Value>,
}

/// A section, or a value in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    /// A section.
    Table(Tree),
    /// From a file.
    Value(Value),
    /// From the command line.
    Given(Given),
}

impl From<Value> for Node {
    fn from(value: Value) -> Self {
        match value {
            Value::Table(table) => Self::Table(tree_of(table)),
            value => Self::Value(value),
        }
    }
}

/// The tree of a file.
pub(super) fn tree_of(table: Table) -> Tree {
    let fields = table.into_iter();
    fields.map(|(name, value)| (name, value.into())).collect()
}

impl Given {
    /// What a field of text is given: what is in the quotes, or all.
    fn into_text(self) -> String {
        match self.value {
            Some(Value::String(quoted)) => quoted,
            _ => self.text,
        }
    }

    /// What any other field is given.
    fn into_value(self) -> Value {
        self.value.unwrap_or(Value::String(self.text))
    }
}

impl<'de> IntoDeserializer<'de, toml::de::Error> for Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

type Result<T> = std::result::Result<T, toml::de::Error>;

impl<'de> Deserializer<'de> for Node {
    type Error = toml::de::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Table(tree) => visitor.visit_map(MapDeserializer::new(tree.into_iter())),
            Self::Value(value) => value.deserialize_any(visitor),
            Self::Given(given) => given.into_value().deserialize_any(visitor),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self {
            Self::Given(given) => visitor.visit_string(given.into_text()),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        match self {
            Self::Given(given) if !matches!(given.value, Some(Value::Table(_))) => {
                let text: StringDeserializer<Self::Error> = given.into_text().into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            node => node.into_value().deserialize_enum(name, variants, visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl Node {
    /// The same without what the text was.
    fn into_value(self) -> Value {
        match self {
            Self::Table(tree) => {
                let fields = tree.into_iter();
                Value::Table(
                    fields
                        .map(|(name, node)| (name, node.into_value()))
                        .collect(),
                )
            }
            Self::Value(value) => value,
            Self::Given(given) => given.into_value(),
        }
    }
}
