//! What a finished study came to, as the terminal shows it.

use std::path::Path;

use crate::console::{show, value};
use crate::error::CliError;
use crate::study::results::{RunStatus, StudyResults};
use crate::study::table::Table;
use crate::study::verdict::verdict;

/// The table and what it says.
pub(super) fn show_results(study: &StudyResults) -> Result<(), CliError> {
    show(format_args!("{}\n", Table::new(study).to_text()))?;
    if let Some(against) = Table::against_baseline(study) {
        show(format_args!("{}\n", against.to_text()))?;
    }
    for sentence in verdict(study) {
        show(format_args!("{sentence}\n"))?;
    }
    Ok(())
}

/// Says where the page is, and which runs failed, if any did.
pub(super) fn ending(study: &StudyResults, folder: &Path) -> Result<(), CliError> {
    show(format_args!(
        "\n{}\n",
        value(folder.join("report.html").display())
    ))?;
    match failures(study) {
        None => Ok(()),
        Some(line) => Err(CliError::Failure(line)),
    }
}

/// Which runs broke off, if any did: a study with such runs has been made, and has not succeeded.
fn failures(study: &StudyResults) -> Option<String> {
    let failed = study.variants.iter().flat_map(|variant| {
        variant.runs.iter().filter_map(|run| match &run.status {
            RunStatus::Finished => None,
            RunStatus::Failed { reason } => {
                Some(format!("{} with seed {}: {reason}", variant.name, run.seed))
            }
        })
    });
    let failed: Vec<String> = failed.collect();
    let first = failed.first()?;
    let all: usize = study
        .variants
        .iter()
        .map(|variant| variant.runs.len())
        .sum();
    Some(format!(
        "{} of {all} runs failed, the results say which; {first}",
        failed.len()
    ))
}
