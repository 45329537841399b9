//! The command line as text: the results keep it, and whoever continues a study repeats it.

/// The command as it was given, so that it can be run again.
pub(super) fn command_line() -> String {
    let words = std::env::args().skip(1).map(|word| {
        let plain = |c: char| c.is_alphanumeric() || "-_./:=,".contains(c);
        if !word.is_empty() && word.chars().all(plain) {
            word
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    });
    std::iter::once("simattn".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}
