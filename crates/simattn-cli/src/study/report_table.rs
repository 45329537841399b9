//! A table of the study on the page.

use std::fmt::Write;

use super::markup::escaped;
use super::results::StudyResults;
use super::series::row_heading;
use super::table::Table;

/// A table with a row for every variant, and its notes.
pub(super) fn table_of(page: &mut String, study: &StudyResults, table: &Table) {
    page.push_str("<div class=\"wide\"><table>\n<thead><tr>");
    for [first, second] in &table.headings {
        let between = if first.is_empty() { "" } else { "<br/>" };
        let _ = write!(
            page,
            "<th scope=\"col\">{}{between}{}</th>",
            escaped(first),
            escaped(second)
        );
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (variant, row) in study.variants.iter().zip(&table.rows) {
        row_heading(page, study, variant);
        for cell in row.iter().skip(1) {
            let error = cell
                .error
                .as_ref()
                .map(|error| format!(" <span class=\"error\">± {}</span>", escaped(error)));
            let class = if cell.best { " class=\"best\"" } else { "" };
            let _ = write!(
                page,
                "<td{class}>{}{}</td>",
                escaped(&cell.text),
                error.unwrap_or_default()
            );
        }
        page.push_str("</tr>\n");
    }
    page.push_str(
        "</tbody></table></div>\n<ul class=\"notes\">\n<li>Bold: best of its column.</li>\n",
    );
    for note in &table.notes {
        let _ = writeln!(page, "<li>{}</li>", escaped(note));
    }
    page.push_str("</ul>\n");
}
