//! How a process ends before its job is done.
//!
//! It must not finalise MPI, which would wait for the others for ever: it leaves with an exit code
//! that is not 0, and the launcher ends the others. While it does, the thread that owns MPI must
//! not call into it, because the libraries below are being torn down.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What the thread that owns MPI and those that may end the process tell each other.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    /// The process is about to end.
    asked: Arc<AtomicBool>,
    /// The thread may be inside MPI.
    inside: Arc<AtomicBool>,
    /// Somebody does nothing but wait for the thread.
    hurried: Arc<AtomicBool>,
}

impl Ending {
    /// To be called by the thread that owns MPI: whether it is about to call into it.
    pub(super) fn inside(&self, inside: bool) {
        self.inside.store(inside, Ordering::SeqCst);
        self.stay_out_if_asked();
    }

    /// To be called by that thread again and again: does not return where the process ends.
    pub(super) fn stay_out_if_asked(&self) {
        if self.asked.load(Ordering::SeqCst) {
            self.inside.store(false, Ordering::SeqCst);
            loop {
                std::thread::park();
            }
        }
    }

    /// Runs `wait`, which waits for the thread that owns MPI.
    pub(super) fn hurrying<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.hurried.store(true, Ordering::Relaxed);
        let result = wait();
        self.hurried.store(false, Ordering::Relaxed);
        result
    }

    /// Whether somebody does nothing but wait for the thread.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }

    /// Ends this process.
    pub(super) fn quit(&self, code: i32) -> ! {
        self.asked.store(true, Ordering::SeqCst);
        let patience = Instant::now() + Duration::from_secs(1);
        while self.inside.load(Ordering::SeqCst) && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::process::exit(code)
    }

    /// The same for the thread that owns MPI.
    pub(super) fn quit_from_inside(&self, code: i32) -> ! {
        self.inside.store(false, Ordering::SeqCst);
        self.quit(code)
    }

    /// From now on a panic of any thread says one line and ends the process: unwinding would
    /// finalise MPI or leave the others waiting.
    pub(super) fn end_on_panic(&self, rank: usize, say: fn(&str)) {
        let ending = self.clone();
        panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(ToString::to_string);
            let why = panic.payload_as_str().unwrap_or("a panic");
            let place = place.unwrap_or_else(|| "an unknown place".to_owned());
            say(&format!("rank {rank}: {why} ({place}); this is a bug"));
            if std::thread::current().name() == Some("ranks") {
                ending.quit_from_inside(101);
            }
            ending.quit(101)
        }));
    }
}
