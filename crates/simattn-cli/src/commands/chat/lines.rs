//! Lines that a user types.

use std::io::IsTerminal;
use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

/// What a user typed.
pub(super) enum Said {
    /// A line.
    Text(String),
    /// That it is over.
    End,
}

/// A line editor with the history of former conversations.
pub(super) struct Lines {
    editor: Editor<(), FileHistory>,
    history: Option<PathBuf>,
}

impl Lines {
    pub(super) fn open() -> Result<Self, ReadlineError> {
        let config = Config::builder().auto_add_history(true).build();
        let mut editor = Editor::with_config(config)?;
        let history = history_file().filter(|_| std::io::stdin().is_terminal());
        if let Some(file) = &history {
            // The first conversation has none.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }

    pub(super) fn next(&mut self) -> Result<Said, ReadlineError> {
        match self.editor.readline("> ") {
            Ok(text) => Ok(Said::Text(text)),
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(Said::End),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if let Some(file) = &self.history
            && let Some(folder) = file.parent()
        {
            // Without a place for it there is no history next time.
            let _ = std::fs::create_dir_all(folder);
            let _ = self.editor.save_history(file);
        }
    }
}

/// Where programs keep what they remember of their use.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| {
        let folder = std::env::var_os(name).map(PathBuf::from)?;
        folder.is_absolute().then_some(folder)
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")))?;
    Some(state.join("simattn/chat_history"))
}
