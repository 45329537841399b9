//! What is said where the command line is not understood, and where help is asked for.

use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextValue, Error};

use crate::console::{value, visible};

/// Writes help, the version, or what is wrong with the command line, and gives the exit code.
pub(crate) fn explain(error: &Error) -> ExitCode {
    let code = ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    if !error.use_stderr() {
        // Nobody is left who could be told of the failure.
        let _ = error.print();
        return code;
    }
    let text = error.render().to_string();
    let text = harmless(text, error.context().map(|(_, context)| context));
    let _ = write!(std::io::stderr().lock(), "{text}");
    code
}

/// The text, several lines of it, with every value in it that came from the command line on one.
fn harmless<'a>(mut text: String, values: impl Iterator<Item = &'a ContextValue>) -> String {
    for context in values {
        let given: &[String] = match context {
            ContextValue::String(given) => std::slice::from_ref(given),
            ContextValue::Strings(given) => given,
            _ => &[],
        };
        for given in given {
            let shown = value(given);
            if shown != *given {
                text = text.replace(given.as_str(), &shown);
            }
        }
    }
    visible(&text, &['\n']).into_owned()
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::Parser;

    /// What is said of a command line.
    fn said(words: &[&str]) -> String {
        let words = std::iter::once(&"simattn").chain(words);
        let error = Cli::try_parse_from(words).expect_err("it is wrong");
        let text = error.render().to_string();
        harmless(text, error.context().map(|(_, context)| context))
    }

    #[test]
    fn a_wrong_value_stays_on_its_line() {
        let evil = "7\nerror: \u{1b}[31mall is lost";
        for words in [
            &["train", "run.toml", "--out", "x", "--steps", evil][..],
            &["train", "run.toml", "--out", "x", "--set", evil],
            &[
                "train",
                "run.toml",
                "--out",
                "x",
                "--tokenizer",
                "bpe:7\n8\u{1b}",
            ],
            &["bench", evil],
            &["eval", "m", "--data", "d", evil],
            &[evil],
        ] {
            let text = said(words);
            assert!(text.contains(r"\n"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
            let lost = text.lines().any(|line| line.starts_with("error: \\u"));
            assert!(!lost, "{text}");
        }
        let long = said(&[
            "train",
            "run.toml",
            "--out",
            "x",
            "--steps",
            &"9".repeat(5000),
        ]);
        assert!(long.len() < 2000, "{long}");
    }
}
