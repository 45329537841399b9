//! What the `simattn` binary is made of.
//!
//! Three floors: [`commands`] holds one file a subcommand; below it are [`study`], a comparison of
//! attention variants (how its models are matched, how they run, its results and the ways to show
//! them), and [`mod@bench`], which times the kernels after checking them. The other modules are the
//! ground that these stand on, and name none of them: [`error`] is why a command ends early and
//! with which exit code, [`console`] writes what is said, [`progress`] and [`training_progress`]
//! show that work goes on, [`quantity`] and [`timestamp`] are numbers and moments as text,
//! [`mod@device`] opens what `--device` asks for, [`machine`] says what a measurement ran on,
//! [`peak`] what that can reach, [`room`] what a command would take of its memory and [`memory`]
//! what it took. A test, `tests/floors.rs`, keeps it so.
//!
//! ```
//! use simattn_cli::study::results::Estimate;
//!
//! let losses = Estimate::of(&[3.1, 3.3]).unwrap();
//! assert!((losses.mean - 3.2).abs() < 1e-12);
//! assert!((losses.standard_error.unwrap() - 0.1).abs() < 1e-12);
//! ```

pub mod bench;
pub mod commands;
pub mod console;
pub mod device;
pub mod error;
pub mod machine;
pub mod memory;
pub mod peak;
pub mod progress;
pub mod quantity;
pub mod room;
pub mod study;
pub mod timestamp;
pub mod training_progress;
