//! What a page of results has to contain: its parts, their studies and the rows of their tables.

use std::path::Path;

use serde::Deserialize;

use super::CollectionError;

/// `outline.toml`: what is asked, and how many steps and seeds count as an answer. No result is in
/// it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Outline {
    /// What stands above all parts.
    pub(super) introduction: String,
    /// The parts, in the order of the page.
    pub(super) part: Vec<Part>,
}

/// One question and the studies that answer it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// A short name, such as `C`.
    pub(super) letter: String,
    /// Its heading.
    pub(super) title: String,
    /// What is asked.
    pub(super) question: String,
    /// What the answer does not show.
    pub(super) limits: String,
    /// The studies.
    pub(super) study: Vec<PlannedStudy>,
}

/// A study as it should be when it is complete.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlannedStudy {
    /// What tells it from the others of its part.
    pub(super) title: String,
    /// The file of its results, beside the outline; it may not be there yet.
    pub(super) results: String,
    /// The revision of simattn that ran it.
    #[serde(default)]
    pub(super) commit: Option<String>,
    /// Steps that each run must have.
    pub(super) steps: u64,
    /// Runs that each row must have, each with its own seed.
    pub(super) seeds: usize,
    /// The rows.
    pub(super) row: Vec<PlannedRow>,
}

/// A variant that a study should have.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlannedRow {
    /// Its name in the results, such as `sas:kernel_size=1`.
    pub(super) variant: String,
    /// What readers see.
    pub(super) label: String,
    /// Hours that one run of it takes.
    pub(super) hours: f64,
}

impl Outline {
    /// Reads the outline at `path`.
    ///
    /// # Errors
    /// A file that is not there or not understood, and a text with a figure in it: figures come
    /// from results.
    pub(super) fn read(path: &Path) -> Result<Self, CollectionError> {
        let text = std::fs::read_to_string(path).map_err(|source| CollectionError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|why| CollectionError::Outline {
            path: path.to_owned(),
            why,
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let outline: Self = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        let texts = outline
            .part
            .iter()
            .flat_map(|part| [(&part.letter, &part.question), (&part.letter, &part.limits)]);
        for (part, text) in texts {
            if let Some(figure) = figure(text) {
                return Err(format!(
                    "part {part} has the figure {figure} in its text; figures come from results"
                ));
            }
        }
        Ok(outline)
    }
}

/// The first number with decimals in `text`.
fn figure(text: &str) -> Option<&str> {
    text.split_whitespace().find(|word| {
        let characters: Vec<char> = word.chars().collect();
        characters
            .windows(3)
            .any(|three| matches!(three, [a, '.', b] if a.is_ascii_digit() && b.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTLINE: &str = r#"
introduction = "What was measured."

[[part]]
letter = "C"
title = "Which form"
question = "Which form is best?"
limits = "One size, 10M."

[[part.study]]
title = "10M"
results = "c.json"
steps = 450
seeds = 3
row = [{ variant = "mha", label = "MHA", hours = 0.06 }]
"#;

    #[test]
    fn an_outline_is_understood() {
        let outline = Outline::parse(OUTLINE).unwrap();
        let study = &outline.part[0].study[0];
        assert_eq!((study.steps, study.seeds), (450, 3));
        assert_eq!(study.row[0].label, "MHA");
    }

    #[test]
    fn a_figure_by_hand_is_refused() {
        let by_hand = OUTLINE.replace("One size, 10M.", "It takes 0.93 of the time.");
        let why = Outline::parse(&by_hand).unwrap_err();
        assert!(why.contains("0.93"), "{why}");
        let unknown = OUTLINE.replace("steps = 450", "step = 450");
        assert!(Outline::parse(&unknown).is_err());
    }
}
