use thiserror::Error;

/// Why files of the Hub are not to be had. `Display` is one line.
#[derive(Debug, Error)]
pub enum HubError {
    /// This program was built without the code that fetches.
    #[error(
        "{0}: this build does not fetch from the Hub; build with `cargo build --release --features hub`, or download it and give the path"
    )]
    NotBuilt(String),
    /// Neither HF_HUB_CACHE, HF_HOME nor HOME says where the cache is.
    #[error("no folder for the Hub's cache; set HF_HOME")]
    NoCache,
    /// The pattern of a data set's files is none.
    #[error("{reference}: the pattern is malformed ({why}); write it as in a shell")]
    Pattern {
        /// As the user wrote it.
        reference: String,
        /// What the parser says.
        why: String,
    },
    /// 404: no such repository or revision, or a private one.
    #[error(
        "{0}: no such repository or revision on the Hub; check the name and the revision, or set HF_TOKEN if it is private"
    )]
    Missing(String),
    /// 401 or 403: the repository wants a token or an agreement.
    #[error(
        "{0}: the Hub refuses access; accept the repository's terms on its page, and set HF_TOKEN"
    )]
    Refused(String),
    /// No network is wanted and the cache does not have it.
    #[error(
        "{0}: not in the cache, and HF_HUB_OFFLINE is set; fetch it once with a network, or unset it"
    )]
    Offline(String),
    /// The repository has no file that was asked for.
    #[error("{reference}: the repository has no {wanted}")]
    NoFile {
        /// As the user wrote it.
        reference: String,
        /// The pattern or the file.
        wanted: String,
    },
    /// The server names a file, commit or checksum that could lead out of the cache.
    #[error("{reference}: the server names {name:?}, which is no safe file name; nothing fetched")]
    Name {
        /// As the user wrote it.
        reference: String,
        /// What the server sent.
        name: String,
    },
    /// Connection, server or disk; what is half there is not used.
    #[error("{reference}: fetching {file} was interrupted ({why}); run it again to continue")]
    BrokenOff {
        /// As the user wrote it.
        reference: String,
        /// The file, or "the file list".
        file: String,
        /// What the layer below says, on one line.
        why: String,
    },
}

impl HubError {
    /// Whether the user can correct it with another request (exit code 2), not only by trying
    /// again.
    #[must_use]
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::BrokenOff { .. })
    }
}
