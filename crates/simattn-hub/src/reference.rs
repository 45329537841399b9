use std::fmt;
use std::str::FromStr;

use thiserror::Error;

const SCHEME: &str = "hf://";

/// Whether an argument means the Hub rather than a path.
#[must_use]
pub fn is_reference(argument: &str) -> bool {
    argument.starts_with("hf:")
}

/// Why a string is no reference. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// Not of the form asked for.
    #[error("{text:?}: not a reference to a {kind} on the Hub; write {form}")]
    Form {
        /// The argument.
        text: String,
        /// "data set" or "model".
        kind: &'static str,
        /// The form that it should have.
        form: &'static str,
    },
    /// An owner, name, revision or path with what the Hub does not allow.
    #[error(
        "{text:?}: the {part} {value:?} is not possible on the Hub; use letters, digits, '-', '_' \
         and '.'"
    )]
    Part {
        /// The argument.
        text: String,
        /// Which part.
        part: &'static str,
        /// The part as written.
        value: String,
    },
}

/// A repository at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
    revision: Option<String>,
}

impl Repository {
    /// `OWNER/NAME`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The branch, tag or commit; `main` where none is given.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    fn parse(text: &str, owner: &str, rest: &str) -> Result<Self, ReferenceError> {
        let (name, revision) = match rest.split_once('@') {
            Some((name, revision)) => (name, Some(revision.replace("%2F", "/"))),
            None => (rest, None),
        };
        let refuse = |part, value: &str| ReferenceError::Part {
            text: text.to_owned(),
            part,
            value: value.to_owned(),
        };
        if !plain(owner) {
            return Err(refuse("owner", owner));
        }
        if !plain(name) {
            return Err(refuse("name", name));
        }
        if let Some(revision) = &revision
            && !revision.split('/').all(plain)
        {
            return Err(refuse("revision", revision));
        }
        Ok(Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision,
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        match &self.revision {
            // A slash would end the revision.
            Some(revision) => write!(f, "@{}", revision.replace('/', "%2F")),
            None => Ok(()),
        }
    }
}

/// One component that is safe in an address and in a path.
pub(crate) fn plain(part: &str) -> bool {
    !part.is_empty()
        && !part.contains("..")
        && part != "."
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// `hf://[models/]OWNER/NAME[@REVISION]`; a slash in the revision is written `%2F`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelReference {
    /// Where the model is.
    pub repository: Repository,
}

impl FromStr for ModelReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let form = || ReferenceError::Form {
            text: text.to_owned(),
            kind: "model",
            form: "hf://OWNER/NAME[@REVISION]",
        };
        let rest = text.strip_prefix(SCHEME).ok_or_else(form)?;
        let rest = rest.strip_prefix("models/").unwrap_or(rest);
        let (owner, rest) = rest.split_once('/').ok_or_else(form)?;
        if rest.contains('/') || ["datasets", "models", "spaces"].contains(&owner) {
            return Err(form());
        }
        let repository = Repository::parse(text, owner, rest)?;
        Ok(Self { repository })
    }
}

impl fmt::Display for ModelReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.repository)
    }
}

/// `hf://datasets/OWNER/NAME[@REVISION]/PATTERN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetReference {
    /// Where the data set is.
    pub repository: Repository,
    /// A file of it or a glob: `*` and `?` stay within a folder, `**` does not.
    pub pattern: String,
}

impl FromStr for DatasetReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let form = || ReferenceError::Form {
            text: text.to_owned(),
            kind: "data set",
            form: "hf://datasets/OWNER/NAME[@REVISION]/FILE-OR-PATTERN",
        };
        let rest = text.strip_prefix("hf://datasets/").ok_or_else(form)?;
        let mut parts = rest.splitn(3, '/');
        let (Some(owner), Some(name), Some(pattern)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(form());
        };
        if pattern.is_empty() {
            return Err(form());
        }
        let repository = Repository::parse(text, owner, name)?;
        if pattern
            .split('/')
            .any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(ReferenceError::Part {
                text: text.to_owned(),
                part: "path",
                value: pattern.to_owned(),
            });
        }
        Ok(Self {
            repository,
            pattern: pattern.to_owned(),
        })
    }
}

impl fmt::Display for DatasetReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}datasets/{}/{}", self.repository, self.pattern)
    }
}
