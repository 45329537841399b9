//! The numbers behind a figure, as a table that opens below it.

use std::fmt::Write;

use super::chart::{Chart, Line};
use super::curves::CurvePoint;
use super::markup::{escaped, one_line};
use crate::quantity::{grouped, significant};

/// A chart of lines with its caption, and its numbers below it.
pub(crate) fn figure(page: &mut String, caption: &str, chart: &Chart) {
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<figure><figcaption>{}</figcaption>\n{}",
        escaped(caption),
        chart.svg()
    );
    of_lines(page, chart);
    page.push_str("</figure>\n");
}

/// A closed table with `headings` over `rows`; the first cell of a row is its heading.
pub(crate) fn details(
    page: &mut String,
    headings: &[String],
    rows: impl Iterator<Item = Vec<String>>,
) {
    page.push_str("<details><summary>Data</summary><div class=\"wide data\"><table>\n<thead><tr>");
    for heading in headings {
        // Writing to a String cannot fail.
        let _ = write!(page, "<th scope=\"col\">{}</th>", escaped(heading));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in rows {
        page.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let _ = match index {
                0 => write!(page, "<th scope=\"row\">{}</th>", escaped(cell)),
                _ => write!(page, "<td>{}</td>", escaped(cell)),
            };
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div></details>\n");
}

/// The points of `chart`: a column a line where all lines have their points at the same places,
/// otherwise one row a point.
fn of_lines(page: &mut String, chart: &Chart) {
    let lines: Vec<&Line> = chart
        .lines
        .iter()
        .filter(|l| !l.points.is_empty())
        .collect();
    let Some(first) = lines.first() else { return };
    let places = |line: &Line| line.points.iter().map(|point| point.x).collect::<Vec<_>>();
    let place = |point: &CurvePoint| number(point.x / chart.horizontal.size, 4);
    let shared = places(first);
    if lines.iter().all(|line| places(line) == shared) {
        let labels = lines.iter().map(|line| one_line(&line.label));
        let headings: Vec<String> = std::iter::once(chart.horizontal.title.clone())
            .chain(labels)
            .collect();
        let rows = first.points.iter().enumerate().map(|(index, point)| {
            let heights = lines.iter().map(|line| height(&line.points[index]));
            std::iter::once(place(point)).chain(heights).collect()
        });
        details(page, &headings, rows);
        return;
    }
    let headings = [
        "variant".to_owned(),
        chart.horizontal.title.clone(),
        chart.vertical.clone(),
    ];
    let rows = lines.iter().flat_map(|line| {
        let points = line.points.iter();
        points.map(|point| vec![one_line(&line.label), place(point), height(point)])
    });
    details(page, &headings, rows);
}

fn height(point: &CurvePoint) -> String {
    match point.error {
        Some(error) => format!("{} ± {}", number(point.y, 5), number(error, 2)),
        None => number(point.y, 5),
    }
}

/// A number with `digits` that count; a whole one without decimals.
pub(crate) fn number(value: f64, digits: usize) -> String {
    match value {
        _ if !value.is_finite() => "–".to_owned(),
        _ if value.abs() >= 1e9 => format!("{value:.3e}"),
        _ if value.fract() == 0.0 => grouped(value),
        _ => significant(value, digits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::chart::Stroke;
    use crate::study::figures::Progress;
    use crate::study::scale::Unit;

    fn table(places: [&[f64]; 2]) -> String {
        let line = |(label, places): (&str, &[f64])| Line {
            label: label.to_owned(),
            stroke: Stroke::Baseline,
            points: places
                .iter()
                .map(|&x| CurvePoint {
                    x,
                    y: 1.5 + x,
                    error: Some(0.25),
                })
                .collect(),
        };
        let chart = Chart {
            id: "a".to_owned(),
            title: "a".to_owned(),
            horizontal: Unit::of(Progress::Steps, 10.0),
            vertical: "nats".to_owned(),
            lines: ["A", "B<"].into_iter().zip(places).map(line).collect(),
            mark: None,
        };
        let mut page = String::new();
        of_lines(&mut page, &chart);
        page
    }

    #[test]
    fn lines_over_the_same_places_are_columns() {
        let page = table([&[1.0, 2.0], &[1.0, 2.0]]);
        let row = "<tr><th scope=\"row\">1</th><td>2.5000 ± 0.25</td><td>2.5000 ± 0.25</td></tr>";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("<th scope=\"col\">B&lt;</th>"), "{page}");
    }

    #[test]
    fn other_lines_are_rows() {
        let page = table([&[1.0], &[1.5]]);
        let row = "<tr><th scope=\"row\">B&lt;</th><td>1.500</td><td>3 ± 0.25</td></tr>";
        assert!(page.contains(row), "{page}");
        assert_eq!(table([&[], &[]]), "");
    }

    #[test]
    fn no_number_is_too_long() {
        assert_eq!(number(1e300, 5), "1.000e300");
        assert_eq!(number(f64::NAN, 5), "–");
        assert_eq!(number(12_345.0, 4), "12,345");
    }
}
