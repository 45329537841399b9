//! What a run writes down while it trains: `metrics.jsonl` and a TensorBoard file.
//!
//! Both only ever grow, and a checkpoint knows their lengths. A run that continues from it cuts
//! them back to those lengths, so that every step is in them once, however often the run was
//! killed.

mod crc32c;
mod journal;
mod metrics;
mod reading;
mod tensorboard;

pub(crate) use metrics::Logs;
pub(crate) use metrics::is_log;
pub use metrics::{LastMetrics, Meters, last_metrics};
pub use reading::{LogEntry, read_log};
