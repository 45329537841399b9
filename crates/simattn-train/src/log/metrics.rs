//! Both logs together: what they say about a step and about an evaluation.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize};

use super::journal::Journal;
use super::tensorboard;
use crate::report::{EvaluationReport, StepReport};

/// The log that programs read, in the run's folder.
pub(super) const LOG: &str = "metrics.jsonl";
/// How the names of TensorBoard's files begin.
const EVENTS: &str = "events.out.tfevents.";

/// Whether a file of this name in a run's folder is a log.
pub(crate) fn is_log(name: &str) -> bool {
    name == LOG || name.starts_with(EVENTS)
}

/// What a run cannot know about the machine it is on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meters {
    /// Floating-point operations a second that the machine can reach; without it no MFU is logged.
    pub peak_flops: Option<f64>,
    /// Resident memory of this process in bytes, now.
    pub memory: Option<fn() -> Option<u64>>,
}

/// A line of `metrics.jsonl` about a step. Numbers that are not known stay out.
#[derive(Debug, Serialize)]
struct StepLine {
    step: u64,
    tokens: u64,
    loss: f64,
    learning_rate: f64,
    gradient_norm: f64,
    seconds: f64,
    tokens_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mfu: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_seconds: Option<f64>,
}

/// A line of `metrics.jsonl` about an evaluation.
#[derive(Debug, Serialize)]
struct EvaluationLine {
    step: u64,
    tokens: u64,
    validation_loss: f64,
    validation_perplexity: f64,
    validation_bits_per_byte: f64,
}

/// `metrics.jsonl` and the TensorBoard file of one run.
#[derive(Debug)]
pub(crate) struct Logs {
    lines: Journal,
    events: Journal,
    meters: Meters,
    seconds_before: f64,
}

impl Logs {
    /// Opens or makes the logs in a run's folder, cut back to the lengths given.
    pub(crate) fn open(
        run: &Path,
        lines: u64,
        events: u64,
        seconds: f64,
        meters: Meters,
    ) -> io::Result<Self> {
        let path = match events_file(run)? {
            Some(path) => path,
            None => {
                let since = now() as u64;
                run.join(format!("{EVENTS}{since:010}.simattn"))
            }
        };
        let mut events = Journal::open(&path, events, tensorboard::whole_records, "events.append")?;
        if events.length() == 0 {
            // What cannot be written is noticed, and said, at the first step.
            let _ = events.append(&tensorboard::opening(now()));
        }
        Ok(Self {
            lines: Journal::open(&run.join(LOG), lines, whole_lines, "metrics.append")?,
            events,
            meters,
            seconds_before: seconds,
        })
    }

    /// Bytes of `metrics.jsonl` and of the TensorBoard file.
    pub(crate) fn lengths(&self) -> (u64, u64) {
        (self.lines.length(), self.events.length())
    }

    /// The files, for a caller that must flush them.
    pub(crate) fn files(&self) -> Vec<File> {
        // Without a second handle the flush is left to the system.
        let files = [self.lines.file(), self.events.file()];
        files.into_iter().flatten().collect()
    }

    /// Writes a step of `tokens` tokens down; gives what should be said about the writing.
    pub(crate) fn step(
        &mut self,
        report: &StepReport,
        tokens: u64,
        flops_per_step: f64,
    ) -> Vec<String> {
        let seconds = (report.seconds - self.seconds_before).max(f64::MIN_POSITIVE);
        self.seconds_before = report.seconds;
        let line = StepLine {
            step: report.step,
            tokens: report.tokens,
            loss: report.loss,
            learning_rate: report.learning_rate,
            gradient_norm: report.gradient_norm,
            seconds: report.seconds,
            tokens_per_second: tokens as f64 / seconds,
            mfu: (self.meters.peak_flops).map(|peak| flops_per_step / seconds / peak),
            memory_bytes: self.meters.memory.and_then(|memory| memory()),
            exchange_seconds: report.exchange.map(|exchange| exchange.seconds),
            waiting_seconds: report.exchange.map(|exchange| exchange.waiting),
        };
        let mut scalars = vec![
            ("train/loss", line.loss),
            ("train/learning_rate", line.learning_rate),
            ("train/gradient_norm", line.gradient_norm),
            ("speed/tokens_per_second", line.tokens_per_second),
        ];
        scalars.extend(line.mfu.map(|mfu| ("speed/mfu", mfu)));
        let memory = line.memory_bytes.map(|bytes| bytes as f64);
        scalars.extend(memory.map(|bytes| ("memory/resident_bytes", bytes)));
        if let Some(exchange) = report.exchange {
            scalars.push(("speed/exchange_seconds", exchange.seconds));
            scalars.push(("speed/waiting_seconds", exchange.waiting));
        }
        self.write(report.step, &line, &scalars)
    }

    /// Writes an evaluation down; gives what should be said about the writing.
    pub(crate) fn evaluation(&mut self, report: &EvaluationReport) -> Vec<String> {
        let evaluation = &report.evaluation;
        let line = EvaluationLine {
            step: report.step,
            tokens: report.tokens,
            validation_loss: evaluation.loss,
            validation_perplexity: evaluation.perplexity,
            validation_bits_per_byte: evaluation.bits_per_byte,
        };
        let scalars = [
            ("validation/loss", line.validation_loss),
            ("validation/bits_per_byte", line.validation_bits_per_byte),
        ];
        self.write(report.step, &line, &scalars)
    }

    fn write(&mut self, step: u64, line: &impl Serialize, scalars: &[(&str, f64)]) -> Vec<String> {
        let said = match serde_json::to_vec(line) {
            Ok(mut text) => {
                text.push(b'\n');
                self.lines.append(&text)
            }
            Err(error) => Some(format!("{LOG}: step {step} has no JSON form: {error}")),
        };
        let record = tensorboard::scalars(now(), step, scalars);
        [said, self.events.append(&record)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// How many of the bytes are whole lines.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1)
}

/// The TensorBoard file of a run.
fn events_file(run: &Path) -> io::Result<Option<PathBuf>> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(run)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(EVENTS)) {
            found.push(entry.path());
        }
    }
    Ok(found.into_iter().min())
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// What the end of a run's `metrics.jsonl` says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LastMetrics {
    /// The newest step.
    pub step: u64,
    /// Its training loss, NaN where it was no number.
    pub loss: Option<f64>,
    /// The newest validation loss among the last lines, NaN where it was no number.
    pub validation_loss: Option<f64>,
    /// Seconds of training.
    pub seconds: Option<f64>,
}

/// Reads the end of a run's `metrics.jsonl`; lines that are not understood are passed over.
///
/// # Errors
///
/// Whatever the system says when the file cannot be read.
pub fn last_metrics(run: &Path) -> io::Result<LastMetrics> {
    /// More than any run has between two evaluations is not worth reading for a list of runs.
    const TAIL: u64 = 1 << 18;
    #[derive(Deserialize)]
    struct Line {
        step: u64,
        #[serde(default, deserialize_with = "number")]
        loss: Option<f64>,
        #[serde(default, deserialize_with = "number")]
        validation_loss: Option<f64>,
        seconds: Option<f64>,
    }
    /// JSON has no word for NaN and infinity: they are null there, and not absent.
    fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        let number = Option::<f64>::deserialize(deserializer)?;
        Ok(Some(number.unwrap_or(f64::NAN)))
    }
    let mut file = File::open(run.join(LOG))?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let mut last = LastMetrics::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<Line>(line) else {
            continue;
        };
        last = LastMetrics {
            step: line.step,
            loss: line.loss.or(last.loss),
            validation_loss: line.validation_loss.or(last.validation_loss),
            seconds: line.seconds.or(last.seconds),
        };
    }
    Ok(last)
}
