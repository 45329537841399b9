//! The page in Markdown.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::outline::{Outline, Part, PlannedStudy};
use super::standing::{OpenRow, Standing};
use super::{CollectionError, MadeFile, picture, results};
use crate::quantity::{count, with_decimals};
use crate::study::markup::one_line;
use crate::study::results::StudyResults;
use crate::study::table::Table;
use crate::study::table_markdown::literal;
use crate::study::table_text;
use crate::study::verdict::verdict;

/// Characters of a line of text; tables and commands may be wider.
const WIDTH: usize = 100;

/// The page and its pictures.
pub(super) fn of(outline: &Outline, folder: &Path) -> Result<Vec<MadeFile>, CollectionError> {
    let mut page = format!("# Results\n\n{}", wrapped(&outline.introduction));
    let mut files = Vec::new();
    let mut hours = 0.0;
    for part in &outline.part {
        page += &format!("\n## {}. {}\n\n", part.letter, part.title);
        page += &wrapped(&part.question);
        for (index, planned) in part.study.iter().enumerate() {
            let found = results(&folder.join(&planned.results))?;
            let standing = Standing::of(planned, found.as_ref());
            hours += standing.open.iter().map(|row| row.hours).sum::<f64>();
            page += &heading(part, planned);
            let picture = standing.complete.as_ref().and_then(picture::of);
            let picture = picture.map(|contents| MadeFile {
                // Several studies may have the same results, and rows of their own.
                path: folder.join(format!("{}-{}.svg", part.letter.to_lowercase(), index + 1)),
                contents,
            });
            page += &study(planned, &standing, picture.as_ref());
            files.extend(picture);
        }
        page += &format!(
            "\n{}",
            wrapped(&format!("**What it does not show.** {}", part.limits))
        );
    }
    page += "\n## What is left to run\n\n";
    page += &wrapped(&left(hours));
    let path = folder.with_extension("md");
    files.insert(
        0,
        MadeFile {
            path,
            contents: page,
        },
    );
    Ok(files)
}

/// A paragraph in lines.
fn wrapped(text: &str) -> String {
    table_text::wrapped(text, WIDTH, "")
}

fn left(hours: f64) -> String {
    if hours > 0.0 {
        format!(
            "Rows that are not run yet stay empty. All of them together need about {} hours on the \
             machine that their hours were reckoned for.",
            with_decimals(hours, 1)
        )
    } else {
        "Nothing: every row has its steps and seeds.".to_owned()
    }
}

fn heading(part: &Part, planned: &PlannedStudy) -> String {
    if part.study.len() > 1 {
        format!("\n### {}\n", planned.title)
    } else {
        String::new()
    }
}

/// What a study says, its picture, its table and where all of it comes from.
fn study(planned: &PlannedStudy, standing: &Standing, picture: Option<&MadeFile>) -> String {
    let mut text = String::new();
    if let Some(complete) = &standing.complete {
        let said = verdict(complete).join(" ");
        text += &format!("\n{}", wrapped(&literal(&said)));
        if let Some(picture) = picture {
            text += &format!("\n{}\n", image(&picture.path));
        }
        let table = Table::of_results(complete);
        text += &format!("\n{}", table.to_markdown());
        for note in &table.notes {
            text += &format!("\n{}", wrapped(&literal(note)));
        }
        text += &origin(planned, complete);
    }
    text + &open_rows(planned, &standing.open)
}

fn image(path: &Path) -> String {
    // The page is beside the folder.
    let names: Vec<&OsStr> = path.iter().rev().take(2).collect();
    let place: PathBuf = names.into_iter().rev().collect();
    format!(
        "<img alt=\"Final validation loss against training time\" width=\"640\" src=\"{}\">",
        place.display()
    )
}

/// How the numbers came about: the command, the machine, the day.
fn origin(planned: &PlannedStudy, study: &StudyResults) -> String {
    let machine = &study.machine;
    let day = study.created.split('T').next().unwrap_or_default();
    let commit = planned.commit.as_ref();
    let commit = commit.map(|commit| format!(", commit {commit}"));
    let facts = format!(
        "{day}, simattn {}{}; {} threads of {}, {}; {} training tokens there were, {} steps of {} \
         tokens, learning rate {}.",
        study.tool_version,
        commit.unwrap_or_default(),
        machine.threads,
        one_line(&machine.cpu),
        one_line(&machine.instruction_set),
        count(study.corpus.train_tokens as f64),
        study.schedule.steps,
        count(study.schedule.tokens_per_step as f64),
        study.schedule.learning_rate
    );
    format!(
        "\n{}\n```text\n{}\n```\n",
        wrapped(&literal(&facts)),
        one_line(&study.command)
    )
}

fn open_rows(planned: &PlannedStudy, open: &[OpenRow]) -> String {
    if open.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\n| not yet with {} steps and {} {} | runs | hours |\n| --- | ---: | ---: |\n",
        planned.steps,
        planned.seeds,
        if planned.seeds == 1 { "seed" } else { "seeds" }
    );
    for row in open {
        text += &format!(
            "| {} | {} | {} |\n",
            literal(&row.label),
            row.runs,
            with_decimals(row.hours, 2)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::synthetic;

    const OUTLINE: &str = r#"
introduction = "What was measured."

[[part]]
letter = "A"
title = "All variants"
question = "Which learns best?"
limits = "One text."

[[part.study]]
title = "ours"
results = "a.json"
commit = "abc1234"
steps = 2000
seeds = 3
row = [
    { variant = "mha", label = "MHA", hours = 0.5 },
    { variant = "sas", label = "SAS", hours = 0.75 },
    { variant = "tpa", label = "TPA | factors", hours = 1.0 },
]
"#;

    fn made(seeds: u64) -> Vec<MadeFile> {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("results");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("outline.toml"), OUTLINE).unwrap();
        let mut study = synthetic::study(seeds);
        study.variants.retain(|variant| variant.name != "tpa");
        let json = serde_json::to_string(&study).unwrap();
        std::fs::write(folder.join("a.json"), json).unwrap();
        super::super::files(&folder).unwrap()
    }

    #[test]
    fn complete_rows_have_figures_and_the_others_their_hours() {
        let files = made(3);
        assert!(files[0].path.ends_with("results.md"));
        assert!(files[1].path.ends_with("results/a-1.svg"));
        let page = &files[0].contents;
        for expected in [
            "After 2,000 steps, SAS has the lowest validation loss",
            "| MHA | ",
            "| TPA \\| factors | 3 | 3.00 |",
            "commit abc1234",
            "src=\"results/a-1.svg\"",
            "**What it does not show.** One text.",
            "about 3.0 hours",
        ] {
            assert!(page.contains(expected), "{expected}:\n{page}");
        }
    }

    #[test]
    fn a_study_short_of_its_seeds_shows_no_figure() {
        let files = made(2);
        assert_eq!(files.len(), 1);
        let page = &files[0].contents;
        assert!(!page.contains("lowest validation loss"), "{page}");
        assert!(page.contains("| SAS | 1 | 0.75 |"), "{page}");
    }
}
