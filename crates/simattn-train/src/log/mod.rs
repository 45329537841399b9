//! What a run writes down while it goes on: `metrics.jsonl` and a TensorBoard file.
//!
//! Both only ever grow, and a checkpoint knows their lengths. A run that goes on from it cuts them
//! back to those lengths, so that every step stands in them once, however often the run was killed.

mod crc32c;
mod journal;
mod metrics;
mod tensorboard;

pub(crate) use metrics::Logs;
pub(crate) use metrics::is_log;
pub use metrics::{LastMetrics, Meters, last_metrics};
