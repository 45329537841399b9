//! The optimisation loop for decoder language models.
//!
//! A [`RunConfig`] (one TOML file) says everything a run depends on. [`Dataset::prepare`] turns its
//! data part into tokens; a [`Trainer`] holds the decoder, its [`AdamW`], its loader and a fixed
//! [`Validation`] sample, and [`Trainer::run`] steps until a [`Budget`] of steps, operations or
//! seconds is spent, telling an [`Observer`] about each [`StepReport`] and [`EvaluationReport`].
//! The [`Schedule`] is a pure function of the step; gradients of micro-batches add up in a
//! [`GradientSum`] and are clipped by their global norm. [`model_folder`] writes what came out, and
//! [`evaluate_text`] measures it on any text.
//!
//! One config on one machine gives the same losses bit for bit, whatever the number of threads
//! (except under [`Budget::Seconds`]). A loss or gradient that is not finite stops the run with the
//! name of the tensor, before any weight is touched.
//!
//! ```
//! use burn::tensor::Device;
//! use simattn_train::{Budget, Dataset, RunConfig, Trainer, parse_document};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config: RunConfig = parse_document(
//!     r#"
//!     seed = 7
//!     [model]
//!     context = 16
//!     layers = 1
//!     width = 16
//!     attention = { kind = "mha", heads = 2, head_dim = 8 }
//!     [data]
//!     tales_train_bytes = 4000
//!     tales_validation_bytes = 1000
//!     [train]
//!     batch = 2
//!     "#,
//!     "example.toml".as_ref(),
//! )?;
//! config.validate()?;
//! let dataset = Dataset::prepare(&config.data, config.seed)?;
//! let mut trainer = Trainer::new(&config, &dataset, Budget::Steps(3), &Device::flex())?;
//! let last = trainer.run(&mut ())?;
//! assert_eq!(last.step, 3);
//! assert!(last.evaluation.loss.is_finite());
//! # Ok(())
//! # }
//! ```

mod adamw;
pub mod checkpoint;
mod config;
mod dataset;
mod error;
mod evaluate;
pub mod exact_json;
pub mod fault;
mod fingerprint;
mod flat;
mod folder_error;
pub mod folder_lock;
mod gradients;
mod groups;
mod kept_tokenizer;
mod log;
pub mod model_folder;
mod muon;
mod on_cache;
mod optimizer;
mod ranks;
mod report;
mod reservation;
mod resume;
mod rolling;
pub mod run_folder;
pub mod runs;
mod schedule;
mod session;
mod sharding;
mod step;
mod tensors;
mod trainer;

pub use adamw::{AdamW, AdamWConfig, Scale};
pub use config::{
    Change, DataConfig, Override, RunConfig, RunConfigError, SourceConfig, TrainConfig, changes,
    parse_document,
};
pub use dataset::Dataset;
pub use error::{Origin, TrainError};
pub use evaluate::{EvaluateError, Evaluation, TextEvaluation, Validation, evaluate_text};
pub use fingerprint::Fingerprint;
pub use gradients::{GradientSum, clip_factor};
pub use kept_tokenizer::KeptTokenizer;
pub use log::{LastMetrics, LogEntry, Meters, last_metrics, read_log};
pub use on_cache::{OnCacheError, evaluate_text_on_cache};
pub use optimizer::{Optimizer, OptimizerConfig, OptimizerKind};
pub use ranks::{Fact, Launch, Manners, Ranks, RanksError, instruction_set, launch};
pub use report::{Budget, EvaluationReport, Exchange, Observer, StepReport};
pub use resume::{FREE_FIELDS, Resume, ResumeError, Resumption, compare_config, compare_data};
pub use rolling::{Rolling, RollingWindow, evaluate_rolling, rolling_windows};
pub use schedule::{Decay, Schedule};
pub use session::{Ending, Session, SessionError, follow};
pub use step::{StepGradients, step_gradients};
pub use tensors::{TensorError, TensorFile};
pub use trainer::Trainer;
