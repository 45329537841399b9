//! `simattn runs`: the runs in a folder, and the state of each.

use std::path::PathBuf;

use clap::Args;
use simattn_train::run_folder::is_run;
use simattn_train::runs::{RunState, RunSummary, in_folder, summary};

use crate::console::{show, tell, value};
use crate::error::{CliError, failure, input};
use crate::quantity::{duration, grouped};
use crate::timestamp::now;

/// List runs: running, finished, stopped or damaged, with step, loss and time.
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// A folder of runs, or one run.
    #[arg(default_value = "runs")]
    pub folder: PathBuf,
    /// Check every byte of the checkpoints against their checksums, and the finished model against
    /// the last checkpoint; exit code 1 if anything is damaged.
    #[arg(long)]
    pub verify: bool,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a folder that cannot be listed; [`CliError::Failure`] for damage that
/// `--verify` found.
pub(crate) fn run(args: &RunsArgs) -> Result<(), CliError> {
    let runs = if is_run(&args.folder).unwrap_or(false) {
        vec![summary(&args.folder, args.verify)]
    } else {
        in_folder(&args.folder, args.verify)
            .map_err(|error| input(format!("{}: {error}", args.folder.display())))?
    };
    if runs.is_empty() {
        tell(format_args!("{}: no runs found", args.folder.display()));
        return Ok(());
    }
    show(table(&runs))?;
    for trouble in runs.iter().flat_map(|run| &run.troubles) {
        tell(trouble);
    }
    let damaged = runs.iter().filter(|run| !run.troubles.is_empty()).count();
    if args.verify && damaged > 0 {
        Err(failure(format!(
            "{}: {damaged} of {} runs are damaged; see the messages above",
            args.folder.display(),
            runs.len()
        )))
    } else {
        Ok(())
    }
}

/// One line per run under a line of headings; columns as wide as their contents.
fn table(runs: &[RunSummary]) -> String {
    let unknown = || "-".to_owned();
    let loss = |loss: Option<f64>| loss.map_or_else(unknown, |loss| format!("{loss:.4}"));
    let mut rows = vec![
        [
            "run", "state", "step", "loss", "val loss", "trained", "changed",
        ]
        .map(str::to_owned),
    ];
    rows.extend(runs.iter().map(|run| {
        let step = match run.state {
            RunState::Running => run.last.step,
            _ => run.saved.unwrap_or(0),
        };
        let steps = run
            .steps
            .map_or_else(unknown, |steps| grouped(steps as f64));
        let name = run.path.file_name().unwrap_or(run.path.as_os_str());
        [
            value(name.to_string_lossy()),
            run.state.to_string(),
            format!("{}/{steps}", grouped(step as f64)),
            loss(run.last.loss),
            loss(run.last.validation_loss),
            run.last.seconds.map_or_else(unknown, duration),
            run.changed.map_or_else(unknown, now),
        ]
    }));
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        })
        .collect();
    rows.iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            format!("{}\n", cells.join("  ").trim_end())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use simattn_train::LastMetrics;

    #[test]
    fn a_row_says_state_step_loss_and_time() {
        let run = RunSummary {
            path: "runs/first".into(),
            state: RunState::Stopped,
            steps: Some(1200),
            saved: Some(1000),
            last: LastMetrics {
                step: 1003,
                loss: Some(2.5),
                validation_loss: None,
                seconds: Some(90.0),
            },
            changed: None,
            troubles: Vec::new(),
        };
        let text = table(&[run]);
        let row = text.lines().nth(1).expect("a row");
        let cells: Vec<&str> = row
            .split("  ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        let time = duration(90.0);
        assert_eq!(
            cells,
            ["first", "stopped", "1,000/1,200", "2.5000", "-", &time, "-"]
        );
    }
}
