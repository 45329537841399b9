//! Which of a model's files are fetched besides its weights.

/// What an import reads besides the weights.
pub(super) const MODEL_FILES: [&str; 5] = [
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "model.safetensors.index.json",
];

/// Whether a model's file says something of its tokens or chats that it can do without.
pub(super) fn is_extra(name: &str) -> bool {
    let files = [
        "special_tokens_map.json",
        "chat_template.jinja",
        "chat_template.json",
    ];
    let further = name.strip_prefix("additional_chat_templates/");
    files.contains(&name)
        || further.is_some_and(|name| !name.contains('/') && name.ends_with(".jinja"))
}
