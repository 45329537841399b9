//! What a command says: results on standard output, everything else on standard error.
//!
//! `println!` and `eprintln!` end the program when nobody reads its output any more: after
//! `simattn … | head`, or on a terminal whose connection broke. A run must survive that.
//!
//! Messages contain names, paths and other values from outside. All of it is made visible here
//! (`visible`): a file's name must not move the cursor, colour the screen, turn the direction of
//! the text or look like a line of its own.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::error::CliError;

/// Characters of a message at most.
const LONGEST: usize = 1200;

/// Characters of a value from outside in a result at most.
const LONGEST_VALUE: usize = 400;

/// Writes a result to standard output, with line ends and no other control characters; a value from
/// outside passes through [`value`] first. A reader that went away is no error: it has seen what it
/// wanted.
///
/// # Errors
/// [`CliError::Failure`] with what else the system says, such as a full disk behind a redirection.
pub(crate) fn show(text: impl Display) -> Result<(), CliError> {
    let text = text.to_string();
    write_out(&visible(&text, &['\n']))
}

/// Writes a result that programs read, or text that is the result itself. It goes out as it is, but
/// to a terminal, which is sent line ends, tabulators and no other control characters.
///
/// # Errors
/// As [`show`].
pub(crate) fn show_content(text: impl Display) -> Result<(), CliError> {
    let text = text.to_string();
    if io::stdout().is_terminal() {
        write_out(&visible(&text, &['\n', '\t', ZERO_WIDTH_JOINER]))
    } else {
        write_out(&text)
    }
}

/// Writes a message to standard error as one line ([`message`]), or nowhere if nothing takes it.
pub(crate) fn tell(line: impl Display) {
    // Nobody is left who could be told of the failure.
    let _ = writeln!(io::stderr().lock(), "{}", message(line));
}

/// A message as it is said: one line, of at most some thousand characters, the middle being left
/// out of a longer one.
pub(crate) fn message(line: impl Display) -> String {
    shortened(&visible(&line.to_string(), &[]), LONGEST)
}

/// A value from outside, such as a path, as a part of a line.
pub(crate) fn value(text: impl Display) -> String {
    shortened(&visible(&text.to_string(), &[]), LONGEST_VALUE)
}

/// The text with every character written out (`\n`, `\u{1b}`) that shows as something else than
/// itself or not at all, but those of `kept`: control characters, line and paragraph separators,
/// marks of direction and characters without width.
pub(crate) fn visible<'a>(text: &'a str, kept: &[char]) -> Cow<'a, str> {
    let hides = |c: char| is_hidden(c) && !kept.contains(&c);
    if !text.contains(hides) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hides(c) {
            // As Rust writes them: \n, \r, \t, else \u{…}.
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// It joins the parts of many emoji.
const ZERO_WIDTH_JOINER: char = '\u{200d}';

/// Whether a character is no picture of itself.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// At most `longest` characters and a count of those that were left out: the beginning says what it
/// is about, the end what to do.
fn shortened(text: &str, longest: usize) -> String {
    let count = text.chars().count();
    if count <= longest {
        return text.to_owned();
    }
    let (first, last) = (longest * 2 / 3, longest / 3);
    let cut = |characters: usize| {
        let at = text.char_indices().nth(characters);
        at.map_or(text.len(), |(at, _)| at)
    };
    let left_out = count - first - last;
    format!(
        "{}[… {left_out} characters …]{}",
        &text[..cut(first)],
        &text[cut(count - last)..]
    )
}

fn write_out(text: &str) -> Result<(), CliError> {
    write_to(&mut io::stdout().lock(), text)
        .map_err(|error| CliError::Failure(format!("standard output: {error}")))
}

/// Lines of one kind that are said one by one; of more, only how many there are.
const NAMED: usize = 20;

/// Writes what a command should not keep to itself: the first lines, and how many more there are.
pub(crate) fn tell_some(command: &str, notes: &[impl Display]) {
    for note in notes.iter().take(NAMED) {
        tell(format_args!("{command}: {note}"));
    }
    if notes.len() > NAMED {
        tell(format_args!("{command}: and {} more", notes.len() - NAMED));
    }
}

fn write_to(out: &mut impl Write, text: impl Display) -> io::Result<()> {
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        assert!(write_to(&mut Refusing(ErrorKind::BrokenPipe), "text").is_ok());
        let full = write_to(&mut Refusing(ErrorKind::StorageFull), "text");
        assert_eq!(full.unwrap_err().kind(), ErrorKind::StorageFull);
        let mut out = Vec::new();
        write_to(&mut out, format_args!("{} lines\n", 2)).unwrap();
        assert_eq!(out, b"2 lines\n");
    }

    #[test]
    fn what_would_steer_a_terminal_is_written_out() {
        for (said, shown) in [
            ("a\nb", r"a\nb"),
            ("\u{1b}[2J\u{7}\0", r"\u{1b}[2J\u{7}\u{0}"),
            ("\u{9b}31m", r"\u{9b}31m"),
            ("\u{202e}txt.exe\u{2066}", r"\u{202e}txt.exe\u{2066}"),
            ("a\u{200b}b\u{feff}", r"a\u{200b}b\u{feff}"),
            ("a\u{2028}b\r\t", r"a\u{2028}b\r\t"),
            (r"C:\new", r"C:\new"),
            ("Füchse und 狐 — κ", "Füchse und 狐 — κ"),
        ] {
            assert_eq!(message(said), shown);
            assert_eq!(value(said), shown);
        }
        assert_eq!(visible("a\n\tb\u{1b}", &['\n']), "a\n\\tb\\u{1b}");
    }

    #[test]
    fn of_a_long_message_beginning_and_end_stay() {
        let name = "x".repeat(100_000);
        let said = message(format_args!("model: {name} is unknown; choose another"));
        assert!(said.starts_with("model: xxx") && said.ends_with("; choose another"));
        assert!(said.contains("characters …]"), "{said}");
        assert!(said.chars().count() < 1300);
    }

    proptest! {
        #[test]
        fn any_message_is_one_visible_line(text in any::<String>()) {
            let said = message(&text);
            prop_assert!(!said.contains(is_hidden));
            prop_assert_eq!(said.lines().count(), usize::from(!said.is_empty()));
        }
    }
}
