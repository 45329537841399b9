//! The same work here and in a PyTorch program, in turn, so that a slow minute of the machine falls
//! on both.
//!
//! The program is called `PYTHON PEER WORK --batch …` with the options of this bench and prints one
//! JSON object a line with at least `what`, `variant`, `median_ms` and `peak_mib`; other lines are
//! passed over.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::record::rounded;
use super::timing::Times;

/// What is run against this program.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// A Python that has PyTorch.
    pub python: PathBuf,
    /// The program's file.
    pub script: PathBuf,
}

/// Why a comparison ended early. `Display` is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum PeerError {
    /// A program that cannot be started.
    #[error("cannot run {program}: {source}")]
    Start {
        /// The file.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// The peer's script is not there.
    #[error("--peer {path}: no such file")]
    NoScript {
        /// The file.
        path: String,
    },
    /// A program that failed.
    #[error("{program} failed ({status}): {last_line}")]
    Failed {
        /// The file.
        program: String,
        /// How it ended.
        status: String,
        /// The last line that it wrote to standard error.
        last_line: String,
    },
    /// A program that did not print what it should.
    #[error("{program} printed no measurement called \"{what}\"")]
    Missing {
        /// The file.
        program: String,
        /// The measurement.
        what: String,
    },
}

impl PeerError {
    /// Whether other arguments would avoid it.
    pub(crate) fn is_input(&self) -> bool {
        matches!(self, Self::Start { .. } | Self::NoScript { .. })
    }
}

/// One measurement of either program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    /// "layer forward" and the like.
    pub what: String,
    /// "sas" or "mha".
    pub variant: String,
    /// Median milliseconds.
    pub median_ms: f64,
    /// Peak memory, where it is told.
    pub peak_mib: Option<f64>,
}

/// Smallest, middle and largest of the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Of the worst round for this program.
    pub min: f64,
    /// Of the round in the middle.
    pub median: f64,
    /// Of the best round.
    pub max: f64,
}

impl Spread {
    fn of(ratios: Vec<f64>) -> Option<Self> {
        let ratios = Times::new(ratios)?;
        Some(Self {
            min: rounded(ratios.least(), 3),
            median: rounded(ratios.median(), 3),
            max: rounded(ratios.most(), 3),
        })
    }
}

/// How often this program's time and memory the peer took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// "layer forward" and the like.
    pub what: String,
    /// "sas" or "mha".
    pub variant: String,
    /// How often each program ran.
    pub rounds: usize,
    /// Median of this program's medians.
    pub ours_ms: f64,
    /// Median of the peer's.
    pub torch_ms: f64,
    /// The peer's median time over ours, round by round.
    pub time_torch_over_ours: Spread,
    /// Median of this program's peaks.
    pub ours_peak_mib: Option<f64>,
    /// Median of the peer's.
    pub torch_peak_mib: Option<f64>,
    /// The peer's peak memory over ours, round by round.
    pub peak_torch_over_ours: Option<Spread>,
}

/// Runs `ours` and the peer in turn, `rounds` times, with their arguments; `tell` hears of each
/// run.
///
/// # Errors
/// A program that cannot be started, fails, or prints no measurement of the kind.
pub(crate) fn compare(
    ours: (&Path, &[String]),
    peer: (&Peer, &[String]),
    rounds: usize,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Ratio>, PeerError> {
    let (program, own_arguments) = ours;
    let (peer, arguments) = peer;
    if !peer.script.is_file() {
        return Err(PeerError::NoScript {
            path: peer.script.display().to_string(),
        });
    }
    let script = peer.script.display().to_string();
    let mut both = Vec::new();
    for round in 1..=rounds.max(1) {
        let mut run = |name: &str, mut command: Command| -> Result<Vec<Sample>, PeerError> {
            let samples = samples_of(&mut command)?;
            for Sample {
                what, median_ms, ..
            } in &samples
            {
                tell(&format!(
                    "round {round}/{rounds} {name:<7} {what} {median_ms:.1} ms"
                ));
            }
            Ok(samples)
        };
        let mut own = Command::new(program);
        own.args(own_arguments);
        let mut theirs = Command::new(&peer.python);
        theirs.arg(&peer.script).args(arguments);
        both.push((run("simattn", own)?, run("torch", theirs)?));
    }
    ratios(&both, &script)
}

fn samples_of(command: &mut Command) -> Result<Vec<Sample>, PeerError> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.output().map_err(|source| PeerError::Start {
        program: program.clone(),
        source,
    })?;
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr);
        let script = command.get_args().next().unwrap_or(OsStr::new(""));
        return Err(PeerError::Failed {
            program: format!("{program} {}", Path::new(script).display()),
            status: output.status.to_string(),
            last_line: log
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or("it said nothing")
                .to_owned(),
        });
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// The measurements among the lines of an output.
fn parse(output: &str) -> Vec<Sample> {
    let sample = |line: &str| {
        let value: Value = serde_json::from_str(line).ok()?;
        Some(Sample {
            what: value.get("what")?.as_str()?.to_owned(),
            variant: value.get("variant")?.as_str()?.to_owned(),
            median_ms: value.get("median_ms")?.as_f64()?,
            peak_mib: value.get("peak_mib").and_then(Value::as_f64),
        })
    };
    output.lines().filter_map(sample).collect()
}

/// The ratios of every measurement that this program made, over rounds of (ours, theirs).
fn ratios(rounds: &[(Vec<Sample>, Vec<Sample>)], peer: &str) -> Result<Vec<Ratio>, PeerError> {
    let Some((first, _)) = rounds.first() else {
        return Ok(Vec::new());
    };
    first
        .iter()
        .map(|sample| {
            let what = &sample.what;
            let missing = || PeerError::Missing {
                program: peer.to_owned(),
                what: what.clone(),
            };
            let of = |samples: &[Sample]| samples.iter().find(|s| s.what == *what).cloned();
            let pairs = rounds
                .iter()
                .map(|(ours, theirs)| of(ours).zip(of(theirs)).ok_or_else(missing));
            let pairs: Vec<(Sample, Sample)> = pairs.collect::<Result<_, _>>()?;
            let median = |values: Vec<f64>| Times::new(values).map(|times| times.median());
            let times =
                |of: fn(&(Sample, Sample)) -> f64| -> Vec<f64> { pairs.iter().map(of).collect() };
            let milliseconds = |of: fn(&(Sample, Sample)) -> f64| {
                let middle = median(times(of)).ok_or_else(missing)?;
                Ok(rounded(middle, 3))
            };
            let peaks = |of: fn(&(Sample, Sample)) -> Option<f64>| {
                median(pairs.iter().filter_map(of).collect()).map(|peak| rounded(peak, 1))
            };
            let peak_ratios = pairs
                .iter()
                .filter_map(|(ours, theirs)| Some(theirs.peak_mib? / ours.peak_mib?));
            Ok(Ratio {
                what: what.clone(),
                variant: sample.variant.clone(),
                rounds: rounds.len(),
                ours_ms: milliseconds(|pair| pair.0.median_ms)?,
                torch_ms: milliseconds(|pair| pair.1.median_ms)?,
                time_torch_over_ours: Spread::of(times(|pair| pair.1.median_ms / pair.0.median_ms))
                    .ok_or_else(missing)?,
                ours_peak_mib: peaks(|pair| pair.0.peak_mib),
                torch_peak_mib: peaks(|pair| pair.1.peak_mib),
                peak_torch_over_ours: Spread::of(peak_ratios.collect()),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(what: &str, median_ms: f64, peak_mib: Option<f64>) -> Sample {
        Sample {
            what: what.into(),
            variant: "sas".into(),
            median_ms,
            peak_mib,
        }
    }

    #[test]
    fn measurements_are_found_among_other_lines() {
        let output = "a warning\n{\"parameters\": 3}\n\
                      {\"what\": \"train step\", \"variant\": \"sas\", \"median_ms\": 2.5, \"peak_mib\": 10.0}\n\
                      {\"what\": \"other\", \"variant\": \"sas\", \"median_ms\": 1, \"peak_mib\": null}\n";
        let expected = [
            sample("train step", 2.5, Some(10.0)),
            sample("other", 1.0, None),
        ];
        assert_eq!(parse(output), expected);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let round = |ours, theirs, peak| {
            (
                vec![sample("step", ours, Some(100.0))],
                vec![sample("step", theirs, peak)],
            )
        };
        let rounds = [
            round(10.0, 30.0, Some(300.0)),
            round(20.0, 30.0, Some(400.0)),
            round(10.0, 50.0, None),
        ];
        let [ratio] = &ratios(&rounds, "peer").unwrap()[..] else {
            panic!("one measurement");
        };
        let Spread { min, median, max } = ratio.time_torch_over_ours;
        assert_eq!((min, median, max), (1.5, 3.0, 5.0));
        assert_eq!((ratio.ours_ms, ratio.torch_ms), (10.0, 30.0));
        assert_eq!(ratio.peak_torch_over_ours.map(|s| s.median), Some(3.5));
    }

    #[test]
    fn a_measurement_that_one_side_lacks_is_named() {
        let rounds = [(
            vec![sample("step", 1.0, None)],
            vec![sample("else", 1.0, None)],
        )];
        let error = ratios(&rounds, "peer.py").unwrap_err();
        assert_eq!(
            error.to_string(),
            "peer.py printed no measurement called \"step\""
        );
    }
}
