//! Documents by what they say, whatever they are called.

use super::input_file::InputFile;
use super::{Place, ReadError, Sink, Stop, read};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a document that decide what it is.
pub(crate) const DECISIVE: usize = 1 << 20;

/// The same for documents of the same text, whether as a file, a line or a row: white space at both
/// ends and carriage returns do not count. Of a document of more than a MiB its first MiB decides.
pub(crate) fn content_key(text: &str) -> [u8; 16] {
    let start = &text[..text.floor_char_boundary(DECISIVE)];
    let mut hasher = Sha256::new();
    for part in start.trim().split('\r') {
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

/// Which documents some files hold, in 16 bytes each.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    keys: HashSet<[u8; 16]>,
    /// The start of the current document.
    start: String,
    skip_bad: bool,
}

impl Contents {
    /// Of all documents of `files`; what cannot be read is an error unless `skip_bad`.
    pub(crate) fn of<'f>(
        files: impl IntoIterator<Item = &'f InputFile>,
        field: &str,
        skip_bad: bool,
    ) -> Result<Self, ReadError> {
        let mut contents = Self {
            skip_bad,
            ..Self::default()
        };
        for file in files {
            match read(
                file,
                Place::default(),
                field,
                &Arc::default(),
                &mut contents,
            ) {
                Ok(()) | Err(Stop::Unheard) => {}
                Err(Stop::Error(error)) => return Err(error),
            }
        }
        Ok(contents)
    }

    /// Whether a document that begins so is one of them.
    pub(crate) fn hold(&self, text: &str) -> bool {
        !self.keys.is_empty() && self.keys.contains(&content_key(text))
    }
}

impl Sink for Contents {
    fn text(&mut self, text: &str) -> Result<(), Stop> {
        if self.start.len() < DECISIVE {
            // A character more than decides, so that one at the border is as whole as in the
            // document.
            let most = text.ceil_char_boundary(DECISIVE + 4 - self.start.len());
            self.start.push_str(&text[..most]);
        }
        Ok(())
    }

    fn end(&mut self, _: Place) -> Result<(), Stop> {
        if !self.start.trim().is_empty() {
            self.keys.insert(content_key(&self.start));
        }
        self.start.clear();
        Ok(())
    }

    fn bad(&mut self, path: &Path, unit: &str, number: u64, problem: String) -> Result<(), Stop> {
        if self.skip_bad {
            Ok(())
        } else {
            Err(ReadError::Bad {
                place: format!("{}:{unit}{number}", path.display()),
                problem,
            }
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_not_content() {
        let key = content_key("One line\n and another.");
        for same in [
            "One line\r\n and another.\r\n",
            "\n One line\n and another.\n\n",
        ] {
            assert_eq!(content_key(same), key, "{same:?}");
        }
        for other in [
            "One line\nand another.",
            "One line\n and another",
            "one line\n and another.",
        ] {
            assert_ne!(content_key(other), key, "{other:?}");
        }
        let long = "é".repeat(DECISIVE);
        assert_eq!(content_key(&long), content_key(&format!("{long} and more")));
    }
}
