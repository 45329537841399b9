//! Jinja as `transformers` sets it up for chat templates.

use chrono::format::{Item, StrftimeItems};
use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Error, ErrorKind};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::json;

/// Steps that a rendering may take, of which reading and writing 64 bytes is one.
const FUEL: u64 = 20_000_000;

/// What a template says when it refuses its input.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Raised(pub(super) String);

/// An environment without templates.
pub(super) fn hugging_face() -> Environment<'static> {
    let mut environment = Environment::new();
    // Its delimiters are the usual ones, which cannot be wrong.
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    if let Ok(syntax) = syntax {
        environment.set_syntax(syntax);
    }
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.add_filter("tojson", json::tojson);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment
}

fn raise_exception(message: String) -> Result<String, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(message)))
}

fn strftime_now(format: &str) -> Result<String, Error> {
    let unknown = |item| matches!(item, Item::Error);
    if StrftimeItems::new(format).any(unknown) {
        let problem = format!("strftime_now: {format:?} is no format of a date");
        return Err(Error::new(ErrorKind::InvalidOperation, problem));
    }
    Ok(chrono::Utc::now().format(format).to_string())
}

/// The source with `{% generation %}` and its end, by which training code finds answers, as blocks
/// without effect.
pub(super) fn without_generation_blocks(source: &str) -> String {
    let mut changed = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        changed.push_str(before);
        let Some(length) = tag.find("%}").map(|end| end + 2) else {
            rest = tag;
            break;
        };
        let inside = &tag[2..length - 2];
        let word = inside
            .trim_start_matches(['-', '+'])
            .trim_end_matches(['-', '+']);
        let instead = match word.trim() {
            "generation" => Some("if true"),
            "endgeneration" => Some("endif"),
            _ => None,
        };
        match instead {
            Some(instead) => {
                changed.push_str("{%");
                changed.push_str(&inside.replacen(word.trim(), instead, 1));
                changed.push_str("%}");
                rest = &tag[length..];
            }
            // The delimiter alone, for a comment or a text may hold it.
            None => {
                changed.push_str("{%");
                rest = &tag[2..];
            }
        }
    }
    changed.push_str(rest);
    changed
}
