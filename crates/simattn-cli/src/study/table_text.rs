//! A table as text, for a terminal.

use super::markup::shortened;
use super::table::{Cell, Table};

/// The widest line [`Table::to_text`] writes, in characters.
pub(crate) const TEXT_WIDTH: usize = 120;

impl Table {
    /// The table for a terminal, at most 120 characters wide; `*` marks the best value of a column.
    pub fn to_text(&self) -> String {
        let written = |cell: &Cell| {
            let error = cell
                .error
                .as_ref()
                .map(|error| format!("±{error}"))
                .unwrap_or_default();
            format!("{}{error}{}", cell.text, if cell.best { "*" } else { " " })
        };
        let mut widths: Vec<usize> = (0..self.headings.len())
            .map(|column| {
                let headings = self.headings[column]
                    .iter()
                    .map(|line| line.chars().count() + 1);
                headings
                    .chain(
                        self.rows
                            .iter()
                            .map(|row| written(&row[column]).chars().count()),
                    )
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        let others: usize = widths.iter().skip(1).map(|width| width + 1).sum();
        widths[0] = widths[0].min(TEXT_WIDTH.saturating_sub(others).max(8));

        let mut text = String::new();
        let mut line = |cells: Vec<String>| {
            let mut written = format!(
                "{:<width$}",
                shortened(&cells[0], widths[0]),
                width = widths[0]
            );
            for (cell, width) in cells.iter().zip(&widths).skip(1) {
                written.push_str(&format!(" {cell:>width$}"));
            }
            text.push_str(written.trim_end());
            text.push('\n');
        };
        for part in 0..2 {
            line(
                self.headings
                    .iter()
                    .map(|heading| format!("{} ", heading[part]))
                    .collect(),
            );
        }
        line(
            widths
                .iter()
                .map(|width| "─".repeat(width.saturating_sub(1)) + " ")
                .collect(),
        );
        for row in &self.rows {
            line(row.iter().map(written).collect());
        }
        text.push_str("* best of its column\n");
        for note in &self.notes {
            text.push_str(&wrapped(note, TEXT_WIDTH, "  "));
        }
        text
    }
}

/// `text` broken between words into lines of at most `width` characters, where words allow; all
/// lines but the first begin with `indent`.
pub(super) fn wrapped(text: &str, width: usize, indent: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(format!("{indent}{word}"));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::synthetic;

    #[test]
    fn fits_a_terminal_and_stays_aligned() {
        for seeds in [1, 3] {
            let text = Table::new(&synthetic::study(seeds)).to_text();
            let lines: Vec<&str> = text.lines().collect();
            assert!(
                lines.iter().all(|line| line.chars().count() <= TEXT_WIDTH),
                "{text}"
            );
            assert_eq!(
                lines.iter().filter(|line| line.starts_with("SAS")).count(),
                1,
                "{text}"
            );
        }
    }

    #[test]
    fn many_variants_with_long_labels_fit_a_terminal() {
        let mut study = synthetic::study(5);
        for variant in &mut study.variants {
            variant.label = format!(
                "{} heads only, κ 1, H′ 12, 4 key/value heads",
                variant.label
            );
            variant.step_seconds = vec![0.1, 0.1, 0.2];
        }
        let text = Table::against_baseline(&study).unwrap().to_text();
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(TEXT_WIDTH), "{text}");
    }

    #[test]
    fn a_long_label_does_not_widen_the_table() {
        let mut study = synthetic::study(3);
        study.variants[1].label =
            "an attention\u{1b}[31m with a name that goes on and on".repeat(4);
        let text = Table::new(&study).to_text();
        assert!(
            text.lines().all(|line| line.chars().count() <= TEXT_WIDTH),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn an_empty_study_has_a_table() {
        let mut study = synthetic::study(1);
        study.variants.clear();
        assert!(Table::new(&study).to_text().contains("variant"));
    }
}
