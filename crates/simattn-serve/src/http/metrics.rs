//! Counters in the text form of Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::scheduler::Scheduler;

/// Upper bounds of a histogram's buckets, in seconds.
const BOUNDS: [f64; 10] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];

/// How often something took how long.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    microseconds: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|&bound| seconds <= bound);
        self.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, about: &str) {
        head(out, name, about, "histogram");
        let mut count = 0;
        let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, bucket) in bounds.zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(out, "simattn_{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let sum = self.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(
            out,
            "simattn_{name}_sum {sum}\nsimattn_{name}_count {count}"
        );
    }
}

/// What the server counts beside its scheduler.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    /// Responses by the first digit of their status.
    responses: [AtomicU64; 6],
    /// To the first token.
    pub(super) first_token: Histogram,
    /// To the end of the answer.
    pub(super) answer: Histogram,
}

impl Metrics {
    pub(super) fn response(&self, status: u16) {
        let class = usize::from(status / 100).min(5);
        self.responses[class].fetch_add(1, Ordering::Relaxed);
    }

    /// All of it as text.
    pub(super) fn text(&self, scheduler: &Scheduler) -> String {
        let mut out = String::new();
        head(
            &mut out,
            "responses_total",
            "Responses by class of status.",
            "counter",
        );
        for (class, count) in self.responses.iter().enumerate().skip(2) {
            let count = count.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "simattn_responses_total{{status=\"{class}xx\"}} {count}"
            );
        }
        let figures = scheduler.counters().figures();
        let waiting = scheduler.waiting() as u64;
        for (name, about, value) in [
            (
                "steps_total",
                "Computations of one token for every running answer.",
                figures.steps,
            ),
            (
                "step_rows_total",
                "Tokens that steps computed.",
                figures.rows,
            ),
            (
                "prompt_tokens_total",
                "Tokens of prompts that were computed.",
                figures.prompt_tokens,
            ),
            (
                "reused_tokens_total",
                "Tokens of prompts that were found again.",
                figures.reused_tokens,
            ),
            (
                "prefix_hits_total",
                "Prompts whose beginning was found again.",
                figures.prefix_hits,
            ),
            (
                "answer_tokens_total",
                "Tokens that were chosen.",
                figures.answer_tokens,
            ),
            (
                "preemptions_total",
                "Answers that were set aside.",
                figures.preemptions,
            ),
            (
                "answers_finished_total",
                "Answers that were completed.",
                figures.finished,
            ),
            (
                "answers_cancelled_total",
                "Answers that nobody waited for.",
                figures.cancelled,
            ),
            (
                "answers_failed_total",
                "Answers that failed.",
                figures.failed,
            ),
            (
                "requests_refused_total",
                "Requests that found the queue full.",
                figures.refused,
            ),
            ("answers_running", "Answers that run now.", figures.running),
            (
                "answers_aside",
                "Answers that are set aside now.",
                figures.aside,
            ),
            ("answers_waiting", "Answers that wait to begin.", waiting),
            (
                "sequence_bytes",
                "Memory of running sequences.",
                figures.memory,
            ),
            (
                "prefix_bytes",
                "Memory of kept prefixes.",
                figures.prefix_bytes,
            ),
            (
                "aside_bytes",
                "Memory of answers that are set aside.",
                figures.aside_bytes,
            ),
        ] {
            let kind = if name.ends_with("_total") {
                "counter"
            } else {
                "gauge"
            };
            head(&mut out, name, about, kind);
            let _ = writeln!(out, "simattn_{name} {value}");
        }
        self.first_token.write(
            &mut out,
            "first_token_seconds",
            "Time to a prompt's last token.",
        );
        self.answer
            .write(&mut out, "answer_seconds", "Time to the end of a response.");
        out
    }
}

fn head(out: &mut String, name: &str, about: &str, kind: &str) {
    let _ = writeln!(
        out,
        "# HELP simattn_{name} {about}\n# TYPE simattn_{name} {kind}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_upwards() {
        let histogram = Histogram::default();
        for milliseconds in [5, 50, 50, 1_000_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let mut out = String::new();
        histogram.write(&mut out, "x_seconds", "X.");
        assert!(
            out.contains("simattn_x_seconds_bucket{le=\"0.01\"} 1\n"),
            "{out}"
        );
        assert!(out.contains("simattn_x_seconds_bucket{le=\"0.1\"} 3\n"));
        assert!(out.contains("simattn_x_seconds_bucket{le=\"+Inf\"} 4\n"));
        assert!(out.contains("simattn_x_seconds_sum 1000.105\nsimattn_x_seconds_count 4\n"));
    }
}
