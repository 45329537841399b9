//! `metrics.jsonl`, read whole.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::metrics::LOG;
use crate::exact_json;

/// What a line of a run's log tells.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogEntry {
    /// A step.
    Step {
        /// Updates made, this one included.
        step: u64,
        /// Its training loss.
        loss: f64,
        /// The learning rate of its update.
        learning_rate: f64,
        /// The gradient's norm before clipping.
        gradient_norm: f64,
        /// Seconds of training so far.
        seconds: f64,
    },
    /// An evaluation.
    Evaluation {
        /// Updates made before it.
        step: u64,
        /// Tokens trained on before it.
        tokens: u64,
        /// The validation loss.
        loss: f64,
    },
}

/// A line of either kind; numbers that are not finite stand there as null.
#[derive(Deserialize)]
struct Line {
    step: u64,
    tokens: u64,
    #[serde(default, deserialize_with = "present")]
    loss: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    validation_loss: Option<f64>,
    #[serde(default, deserialize_with = "exact_json::number")]
    learning_rate: f64,
    #[serde(default, deserialize_with = "exact_json::number")]
    gradient_norm: f64,
    #[serde(default, deserialize_with = "exact_json::number")]
    seconds: f64,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    exact_json::number(deserializer).map(Some)
}

/// Reads a run's log from its first line to its last, every number bit for bit as it was written.
///
/// # Errors
///
/// Whatever the system says when the file cannot be read; [`io::ErrorKind::InvalidData`] with the
/// number of a line that is not understood.
pub fn read_log(run: &Path) -> io::Result<Vec<LogEntry>> {
    let text = fs::read_to_string(run.join(LOG))?;
    let entry = |(index, line): (usize, &str)| {
        let unknown = |why: String| {
            let why = format!("line {} of {LOG} {why}", index + 1);
            io::Error::new(io::ErrorKind::InvalidData, why)
        };
        let line: Line =
            exact_json::from_str(line).map_err(|e| unknown(format!("is not understood ({e})")))?;
        match (line.loss, line.validation_loss) {
            (Some(loss), None) => Ok(LogEntry::Step {
                step: line.step,
                loss,
                learning_rate: line.learning_rate,
                gradient_norm: line.gradient_norm,
                seconds: line.seconds,
            }),
            (None, Some(loss)) => Ok(LogEntry::Evaluation {
                step: line.step,
                tokens: line.tokens,
                loss,
            }),
            _ => Err(unknown("is of no step and of no evaluation".to_owned())),
        }
    };
    text.lines().enumerate().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_and_evaluations_are_read_bit_for_bit() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let exact = 5.060_512_345_678_901_f64;
        let text = format!(
            "{{\"step\":0,\"tokens\":0,\"validation_loss\":{exact},\"validation_perplexity\":1.0}}\n\
             {{\"step\":1,\"tokens\":64,\"loss\":null,\"learning_rate\":0.1,\
             \"gradient_norm\":{exact},\"seconds\":0.5,\"mfu\":0.1}}\n"
        );
        fs::write(folder.path().join(LOG), text).expect("a small file");
        let read = read_log(folder.path()).expect("a log");
        assert_eq!(
            read[0],
            LogEntry::Evaluation {
                step: 0,
                tokens: 0,
                loss: exact
            }
        );
        let LogEntry::Step {
            loss,
            gradient_norm,
            ..
        } = read[1]
        else {
            panic!("a step");
        };
        assert!(loss.is_nan());
        assert_eq!(gradient_norm.to_bits(), exact.to_bits());
        fs::write(folder.path().join(LOG), "{\"step\":1,\"tokens\":2}\n").expect("a small file");
        let error = read_log(folder.path()).expect_err("neither");
        assert!(error.to_string().contains("line 1 of"), "{error}");
    }
}
