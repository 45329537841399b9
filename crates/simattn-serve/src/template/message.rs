//! A message of a chat.

use minijinja::value::Value;

/// A message: who says what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    role: String,
    content: String,
    name: Option<String>,
}

impl Message {
    /// What `role` says.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self {
            role: role.into(),
            content: content.into(),
            name: None,
        }
    }

    /// The same by somebody with a name.
    pub fn named(mut self, name: Option<String>) -> Self {
        self.name = name;
        self
    }

    /// Who says it.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// What is said.
    pub fn content(&self) -> &str {
        &self.content
    }

    /// Every text in it.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let texts = [Some(&self.role), Some(&self.content), self.name.as_ref()];
        texts.into_iter().flatten().map(String::as_str)
    }

    /// As a template sees it, its texts changed.
    pub(super) fn value(&self, changed: &impl Fn(&str) -> String) -> Value {
        let role = Some(("role", &self.role));
        let content = Some(("content", &self.content));
        let name = self.name.as_ref().map(|name| ("name", name));
        let pairs = [role, content, name].into_iter().flatten();
        Value::from_pairs(pairs.map(|(field, text)| (field, changed(text))))
    }
}
