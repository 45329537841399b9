//! What is done to an item's fields before the templates, where data alone does not say it.

use crate::space::is_space;
use crate::template::{Fields, find, texts};
use serde::Deserialize;
use serde_json::Value;

/// A named preparation of an item's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preparation {
    /// Makes `query`, cleans `endings`.
    Hellaswag,
    /// Takes the white space in front of `support` away.
    Sciq,
    /// Cuts `sentence` at its first `_` into `before` and `after`.
    Winogrande,
    /// Cuts `text` at its last space into `before` and `last`.
    LastWord,
}

impl Preparation {
    pub(crate) fn apply(self, fields: &mut Fields) -> Result<(), String> {
        let text = |fields: &Fields, name: &str| match find(fields, name)? {
            Value::String(text) => Ok(text.clone()),
            _ => Err(format!("the field \"{name}\" is not text")),
        };
        match self {
            Self::Hellaswag => {
                let label = text(fields, "activity_label")?;
                let end = capitalize(&text(fields, "ctx_b")?);
                let query = format!("{label}: {} {end}", text(fields, "ctx_a")?);
                let endings: Vec<String> = texts(fields, "endings")?
                    .iter()
                    .map(|text| clean(text))
                    .collect();
                fields.insert("query".to_owned(), clean(&query).into());
                fields.insert("endings".to_owned(), endings.into());
            }
            Self::Sciq => {
                let support = text(fields, "support")?;
                let support = support.trim_start_matches(is_space).to_owned();
                fields.insert("support".to_owned(), support.into());
            }
            Self::Winogrande => {
                let sentence = text(fields, "sentence")?;
                let (before, after) = sentence
                    .split_once('_')
                    .ok_or("the field \"sentence\" has no _ to fill")?;
                fields.insert("before".to_owned(), before.into());
                fields.insert("after".to_owned(), after.trim_matches(is_space).into());
            }
            Self::LastWord => {
                let whole = text(fields, "text")?;
                let (before, last) = whole.rsplit_once(' ').unwrap_or(("", &whole));
                fields.insert("before".to_owned(), before.into());
                fields.insert("last".to_owned(), last.into());
            }
        }
        Ok(())
    }
}

/// The first character in title case, the rest in lower case.
fn capitalize(text: &str) -> String {
    let mut rest = text.chars();
    let Some(first) = rest.next() else {
        return String::new();
    };
    // Where a capital is several characters, as that of ß, only the first of them is one in a
    // title.
    let mut capital = first.to_uppercase();
    let title: String = capital.next().into_iter().collect();
    let tail: String = capital.flat_map(char::to_lowercase).collect();
    title + &tail + &rest.as_str().to_lowercase()
}

/// HellaSwag's cleaning: a title mark becomes a full stop, other brackets go, each double space
/// becomes one, once.
fn clean(text: &str) -> String {
    let text = text.trim_matches(is_space).replace(" [title]", ". ");
    without_brackets(&text).replace("  ", " ")
}

/// Without `[…]`, the shortest that closes on the same line.
fn without_brackets(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let line = from.split('\n').next().unwrap_or(from);
        match line.find(']') {
            Some(close) => rest = &from[close + 1..],
            None => {
                out.push('[');
                rest = &from[1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellaswag_is_cleaned_as_published() {
        assert_eq!(clean("  a [title] b [step] c"), "a. b c");
        // A single pass: three spaces become two.
        assert_eq!(clean("a   b    c"), "a  b  c");
        // Stripped before the brackets go, not after.
        assert_eq!(clean("[header] How to"), " How to");
        assert_eq!(clean("x [a] [b]"), "x ");
        assert_eq!(clean("x [a\nb] [c"), "x [a\nb] [c");
        assert_eq!(clean("[[a]] b"), "] b");
    }

    #[test]
    fn capitals_are_as_in_python() {
        for (from, to) in [
            ("he Runs AND", "He runs and"),
            ("", ""),
            ("ßa", "Ssa"),
            ("éA", "Éa"),
            ("1 A", "1 a"),
        ] {
            assert_eq!(capitalize(from), to);
        }
    }

    #[test]
    fn fields_are_prepared_or_named() {
        let apply = |preparation: Preparation, item: Value| {
            let mut fields = item.as_object().unwrap().clone();
            preparation.apply(&mut fields).map(|()| fields)
        };
        let fields = apply(
            Preparation::Hellaswag,
            serde_json::json!({"activity_label": "Roof", "ctx_a": "A man.", "ctx_b": "he IS", "endings": ["x  y", "[z] w"]}),
        )
        .unwrap();
        assert_eq!(fields["query"], "Roof: A man. He is");
        assert_eq!(fields["endings"], serde_json::json!(["x y", " w"]));
        let fields = apply(
            Preparation::Winogrande,
            serde_json::json!({"sentence": "A _ b _ c. "}),
        )
        .unwrap();
        assert_eq!(
            (&fields["before"], &fields["after"]),
            (&"A ".into(), &"b _ c.".into())
        );
        assert!(
            apply(
                Preparation::Winogrande,
                serde_json::json!({"sentence": "A"})
            )
            .is_err()
        );
        let fields = apply(
            Preparation::Sciq,
            serde_json::json!({"support": " \u{1c}\n a "}),
        )
        .unwrap();
        assert_eq!(fields["support"], "a ");
        let fields = apply(Preparation::LastWord, serde_json::json!({"text": "a b c"})).unwrap();
        assert_eq!(
            (&fields["before"], &fields["last"]),
            (&"a b".into(), &"c".into())
        );
        assert!(apply(Preparation::Sciq, serde_json::json!({"support": 3})).is_err());
    }
}
