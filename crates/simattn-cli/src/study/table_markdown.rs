//! A table as Markdown.

use super::table::{Cell, Table};

impl Table {
    /// The table in Markdown, one line a row; what is best of its column is bold. Notes are not in
    /// it.
    pub(crate) fn to_markdown(&self) -> String {
        let written = |cell: &Cell| {
            let error = cell.error.as_ref();
            let error = error.map(|error| format!(" ± {error}")).unwrap_or_default();
            let text = format!("{}{error}", literal(&cell.text));
            if cell.best {
                format!("**{text}**")
            } else {
                text
            }
        };
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let headings = self.headings.iter().map(|[first, second]| {
            let words = format!("{first} {second}");
            literal(words.trim())
        });
        let mut text = line(headings.collect());
        let rules = self.headings.iter().enumerate();
        text += &line(
            rules
                .map(|(column, _)| if column == 0 { "---" } else { "---:" }.to_owned())
                .collect(),
        );
        for row in &self.rows {
            text += &line(row.iter().map(written).collect());
        }
        text
    }
}

/// `text` with the characters escaped that Markdown would take for more than text.
pub(super) fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(
            character,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#'
        ) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::synthetic;

    #[test]
    fn every_row_has_a_cell_for_every_heading() {
        let mut study = synthetic::study(3);
        study.variants[1].label = "a | b *c* <i>".to_owned();
        let text = Table::of_results(&study).to_markdown();
        // Escaped bars are text.
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 + study.variants.len());
        assert!(
            lines.iter().all(|line| cells(line) == cells(lines[0])),
            "{text}"
        );
        assert!(text.contains(r"a \| b \*c\* \<i\>"), "{text}");
        let best = lines.iter().find(|line| line.starts_with("| SAS")).unwrap();
        assert!(best.contains("**"), "{text}");
    }
}
