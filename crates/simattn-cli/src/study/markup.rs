//! Text from outside on its way into a page or a terminal.

use crate::console::is_hidden;

/// `text` as the content of an element or of a double-quoted attribute. Characters that no document
/// may hold are dropped.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\u{FFFE}' | '\u{FFFF}' => {}
            '\n' | '\t' => safe.push(character),
            _ if character.is_control() => {}
            // A mark of direction would also turn the text beside it.
            _ if is_hidden(character) => safe.extend(character.escape_unicode()),
            _ => safe.push(character),
        }
    }
    safe
}

/// `text` on one line, without control characters: what a terminal may be sent.
pub(crate) fn one_line(text: &str) -> String {
    let visible: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `text` in at most `width` characters, the last of them `…` where some were left out.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markup_loses_its_meaning() {
        assert_eq!(
            escaped("<b a=\"1\">&'\u{1b}[31m"),
            "&lt;b a=&quot;1&quot;&gt;&amp;&#39;[31m"
        );
        assert_eq!(one_line("a\u{1b}[31m\n b"), "a [31m b");
        assert_eq!(shortened("abcdef", 4), "abc…");
        assert_eq!(shortened("abcd", 4), "abcd");
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_from_a_document(text in any::<String>()) {
            let document = format!("<p a=\"{0}\">{0}</p>", escaped(&text));
            let parsed = roxmltree::Document::parse(&document).expect("well-formed");
            let mut expected = String::new();
            for character in text.chars() {
                match character {
                    '\n' | '\t' => expected.push(character),
                    '\u{FFFE}' | '\u{FFFF}' => {}
                    _ if character.is_control() => {}
                    _ if is_hidden(character) => expected.extend(character.escape_unicode()),
                    _ => expected.push(character),
                }
            }
            prop_assert_eq!(parsed.root_element().text().unwrap_or(""), expected);
        }
    }
}
