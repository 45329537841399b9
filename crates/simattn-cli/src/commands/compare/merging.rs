//! `simattn compare --merge`: the shares of one study, joined.

use std::time::SystemTime;

use simattn_train::model_folder::Reservation;

use super::CompareArgs;
use super::command_line::command_line;
use super::outcome::{ending, show_results};
use crate::console::tell;
use crate::error::{CliError, failure, input};
use crate::study::merging::{Part, merge};
use crate::study::report;
use crate::timestamp;

/// Joins the studies that were named into a folder of results.
///
/// # Errors
/// As [`super::run`].
pub(super) fn run(args: &CompareArgs) -> Result<(), CliError> {
    let place = args.place(&timestamp::now(SystemTime::now()))?;
    let reservation = Reservation::new(&place.folder).map_err(input)?;
    let parts: Vec<Part> = (args.merge.iter())
        .map(|path| Part::read(path))
        .collect::<Result<_, _>>()
        .map_err(input)?;
    let Some((first, others)) = parts.split_first() else {
        return Err(CliError::Input("--merge: name what to join".into()));
    };
    let (mut study, missing) = merge(first, others).map_err(input)?;
    let shares = parts.iter().map(|part| part.command().to_owned());
    study.command = shares
        .chain([command_line()])
        .collect::<Vec<_>>()
        .join(" && ");
    study.name = place.name;
    if missing > 0 {
        tell(format_args!(
            "compare: {missing} runs of this study are in none of them"
        ));
    }
    // Shown even if the files cannot be written.
    let shown = show_results(&study);
    let json = serde_json::to_vec_pretty(&study).map_err(failure)?;
    let files = [
        ("results.json", json),
        ("report.html", report::html(&study).into_bytes()),
    ];
    for (name, contents) in files {
        reservation.write(name, &contents).map_err(failure)?;
    }
    reservation.publish().map_err(failure)?;
    shown?;
    ending(&study, &place.folder)
}
