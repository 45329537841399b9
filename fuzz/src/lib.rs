//! What the fuzz targets share.
//!
//! An input is a list of [`parts`]: the files of a folder, or the pieces that a file is put together
//! from. The target assembles them and works out the checksums, so that what a mutation breaks is
//! the contents and not the sum over them; the first part holds [`Switches`], which can leave a sum
//! wrong. [`mutate`] knows parts, JSON and TOML. [`place`] is the folder that readers of paths read.
//!
//! A panic that the code under test contains is no find; one that comes out of it is.

#[allow(dead_code, reason = "the part that `samples` needs")]
#[path = "../../crates/simattn-data/src/byte_level.rs"]
mod byte_level;
pub mod files;
pub mod models;
pub mod mutate;
pub mod parquets;
pub mod parts;
pub mod place;
pub mod prepared;
#[allow(dead_code, reason = "the part that `tokenizers` needs")]
#[path = "../../crates/simattn-data/src/tokenizer/samples.rs"]
mod samples;
pub mod tokenizers;

pub use parts::{Switches, join, split};
pub use place::Place;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The variable that names a folder: the target writes its seeds there and ends.
const SEEDS: &str = "SIMATTN_FUZZ_SEEDS";

/// Seconds that an input may take, and how the system counts them.
const LONGEST: u64 = 20;
const TICKS: u64 = 100;

/// Declares a target: a function that makes its seeds, and one that runs an input.
#[macro_export]
macro_rules! target {
    ($seeds:expr, $run:expr) => {
        libfuzzer_sys::fuzz_target!(init: $crate::begin($seeds), |data: &[u8]| {
            $crate::run(|| $run(data));
        });
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, most: usize, seed: u32| {
            $crate::mutate::mutate(data, size, most, seed)
        });
    };
}

/// What the last panic said.
static LAST: Mutex<String> = Mutex::new(String::new());

/// Before the first input: one thread, and the seeds where they were asked for.
///
/// # Panics
/// Where the seeds cannot be written.
pub fn begin(seeds: fn() -> Vec<Vec<u8>>) {
    // A second pool cannot be asked for; then the first one stays.
    let _ = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global();
    if let Some(folder) = std::env::var_os(SEEDS).map(PathBuf::from) {
        std::fs::create_dir_all(&folder).expect("the folder of the seeds");
        for (number, seed) in seeds().iter().enumerate() {
            let path = folder.join(format!("seed-{number:03}"));
            std::fs::write(path, seed).expect("a seed");
        }
        std::process::exit(0);
    }
    std::thread::spawn(watch);
    // In place of the fuzzer's own hook, which ends the process at a panic that is contained too.
    std::panic::set_hook(Box::new(|panic| {
        let trace = std::backtrace::Backtrace::force_capture();
        if let Ok(mut last) = LAST.lock() {
            *last = format!("{panic}\n{trace}");
        }
    }));
}

/// Inputs so far, and whether one is running.
static INPUTS: AtomicU64 = AtomicU64::new(0);

/// Runs one input; a panic that comes out of it ends the process, and the fuzzer keeps the input.
pub fn run(input: impl FnOnce()) {
    INPUTS.fetch_add(1, Ordering::Relaxed);
    let outcome = catch_unwind(AssertUnwindSafe(input));
    INPUTS.fetch_add(1, Ordering::Relaxed);
    if outcome.is_err() {
        if let Ok(last) = LAST.lock() {
            eprintln!("{last}");
        }
        std::process::abort();
    }
}

/// Ends the process where one input takes too long. By the time that the process computes, not by
/// the clock, as the fuzzer's own limit is: fuzzing is stopped while other things are measured.
fn watch() {
    let (mut input, mut since) = (0, 0);
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let (now, ticks) = (INPUTS.load(Ordering::Relaxed), ticks());
        if now != input || now % 2 == 0 {
            (input, since) = (now, ticks);
        } else if ticks - since > LONGEST * TICKS {
            eprintln!("an input takes more than {LONGEST} seconds");
            std::process::abort();
        }
    }
}

/// Ticks that this process has computed; 0 on systems that do not say.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let numbers = fields.split_whitespace().skip(11).take(2);
    numbers.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

/// What an input that is refused is told. Making the text must not fail either.
///
/// # Panics
/// Where nothing is said: that is a find.
pub fn refused(error: &impl std::fmt::Display) {
    assert!(!error.to_string().trim().is_empty());
}
