//! Evaluation on tasks, scored as EleutherAI's lm-evaluation-harness (0.4) scores them.
//!
//! A [`Task`] is data: how an item's fields become contexts, continuations and the right answer.
//! [`Task::items`] reads them from a file of JSON lines or Parquet; [`Pair::encode`] turns a
//! context and a continuation into tokens; [`Scorer`] sums log-probabilities; and [`Outcome`] is
//! what came out, with standard errors. Items, decisions and numbers agree with the harness.
//!
//! ```
//! use simattn_eval::{Task, tasks};
//!
//! let piqa = Task::named("piqa", &tasks()).unwrap();
//! let item = piqa.item(r#"{"goal": "Boil water", "sol1": "Use a kettle.", "sol2": "Use a sieve.", "label": 0}"#).unwrap();
//! assert_eq!(item.requests[1].context, "Question: Boil water\nAnswer:");
//! assert_eq!(item.requests[1].continuation, " Use a sieve.");
//! assert_eq!(item.gold, Some(0));
//! ```

mod error;
mod items;
mod metric;
mod metrics;
mod pair;
mod prepare;
mod records;
mod report;
mod run;
mod score;
mod space;
mod task;
mod template;

pub use error::EvalError;
pub use items::{Item, Request};
pub use metric::Metric;
pub use metrics::{Outcome, Value};
pub use pair::Pair;
pub use report::{harness_json, sample_json};
pub use run::{ItemScore, Settings, TaskRun, run_task};
pub use score::{Score, Scorer};
pub use space::is_space;
pub use task::{Choices, Gold, Task, read_tasks, tasks};
