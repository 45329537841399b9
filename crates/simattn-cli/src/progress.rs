//! How work shows its progress: a bar on a terminal, a line now and then elsewhere. All of it
//! goes to standard error; results belong to standard output.

use std::fmt::Display;
use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console::{message, tell};

/// A bar at the bottom of a terminal, taken off the screen when it is dropped; nothing where
/// standard error is no terminal.
#[derive(Debug)]
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar that runs to `end`. `label` comes before it, `counts` after it: a template such as
    /// `{pos}/{len}`.
    pub(crate) fn new(label: &str, counts: &str, end: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(end), ProgressDrawTarget::stderr());
            let template = format!("{{prefix}} {{bar:24}} {counts} {{wide_msg}}");
            // Templates are constants; were one wrong, the plain bar would do.
            let style = ProgressStyle::with_template(&template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar.set_prefix(label.to_owned());
            bar
        });
        Self(bar)
    }

    /// Whether there is a terminal to show it.
    pub(crate) fn is_shown(&self) -> bool {
        self.0.is_some()
    }

    /// How far the work is, and a few words on it.
    pub(crate) fn show(&self, done: u64, end: u64, words: String) {
        if let Some(bar) = &self.0 {
            bar.set_length(end);
            bar.set_position(done);
            bar.set_message(words);
        }
    }

    /// The time left, from the speed so far; zero without a terminal.
    pub(crate) fn left(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, ProgressBar::eta)
    }

    /// Writes a line above the bar, or just a line.
    pub(crate) fn say(&self, line: impl Display) {
        match &self.0 {
            Some(bar) => bar.println(message(line)),
            None => tell(line),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Counts the tenths of some work, to say each of them once.
#[derive(Debug, Default)]
pub(crate) struct Tenths(u64);

impl Tenths {
    /// The per cent that are done, if that is another tenth since it last gave any.
    pub(crate) fn reached(&mut self, done: u64, end: u64) -> Option<u64> {
        let now = done * 10 / end.max(1);
        (now > self.0).then(|| {
            self.0 = now;
            now * 10
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tenth_is_said_once() {
        let mut tenths = Tenths::default();
        let said: Vec<u64> = (0..=30)
            .filter_map(|done| tenths.reached(done, 30))
            .collect();
        assert_eq!(said, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
        assert_eq!(Tenths::default().reached(0, 0), None);
        assert_eq!(Tenths::default().reached(7, 10), Some(70));
    }
}
