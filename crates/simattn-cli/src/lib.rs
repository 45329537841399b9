//! What the `simattn` binary is made of.
//!
//! [`commands`] holds one file a subcommand, [`study`] a comparison of attention variants: how its
//! models are matched, how they run, its results and the ways to show them; [`mod@bench`] times the
//! kernels after checking them. [`mod@device`] opens what `--device` asks for. [`progress`] shows a
//! run that goes on, [`console`] writes what is said, [`usage`] what is wrong with a command line, [`memory`] measures what it took, [`room`] says what it would take, [`machine`] says what it ran on, [`peak`] what that can reach.
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
pub mod machine;
pub mod memory;
pub mod peak;
pub mod progress;
pub mod room;
pub mod study;
pub mod usage;
