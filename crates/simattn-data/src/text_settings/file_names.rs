//! Which files of a Hugging Face folder speak about text.

/// `config.json` of a Hugging Face folder.
pub(super) const CONFIG: &str = "config.json";
pub(super) const GENERATION: &str = "generation_config.json";
pub(super) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(super) const SPECIAL_TOKENS: &str = "special_tokens_map.json";
pub(super) const TEMPLATE: &str = "chat_template.jinja";
pub(super) const TEMPLATE_JSON: &str = "chat_template.json";
/// The folder of further templates, one file each.
pub(super) const MORE_TEMPLATES: &str = "additional_chat_templates";

/// Files that are kept word for word.
pub(super) const FILES: [&str; 5] = [
    GENERATION,
    TOKENIZER_CONFIG,
    SPECIAL_TOKENS,
    TEMPLATE,
    TEMPLATE_JSON,
];

/// Whether a file of this name is kept. Names become paths again, so that nothing else may be one.
pub(super) fn is_known(name: &str) -> bool {
    FILES.contains(&name) || further_template(name).is_some()
}

/// The name of a template in the folder of further ones.
pub(super) fn further_template(name: &str) -> Option<&str> {
    let within = name.strip_prefix(MORE_TEMPLATES)?.strip_prefix('/')?;
    let stem = within.strip_suffix(".jinja")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (!stem.is_empty() && !stem.starts_with('.') && stem.chars().all(plain)).then_some(stem)
}
