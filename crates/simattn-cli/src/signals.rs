//! Signals that ask work to stop: what it has is saved, and it ends by itself.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// A flag that SIGINT and SIGTERM set, SIGUSR1, which `mpirun` sends on to all processes, and SIGHUP,
/// which a terminal sends when it closes. The second
/// SIGINT or SIGTERM ends the process at once, with the exit code that shells give: 128 and the
/// signal's number.
///
/// # Errors
/// A system that takes no handler.
pub(crate) fn stop_on_signals() -> std::io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal finds the flag down, and raises it.
        flag::register_conditional_shutdown(signal, 128 + signal, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    #[cfg(unix)]
    flag::register(signal_hook::consts::SIGUSR1, stop.clone())?;
    #[cfg(target_os = "linux")]
    if !hangups_are_ignored() {
        // A closing terminal sends it, and so may its shell: the second one must not cut the save short.
        flag::register(signal_hook::consts::SIGHUP, stop.clone())?;
    }
    Ok(stop)
}

/// Whether this process was started, as `nohup` does, so that it outlives its terminal.
#[cfg(target_os = "linux")]
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Where the system does not say, nothing is changed. Signal n is bit n − 1.
    ignored.is_none_or(|mask| mask >> (signal_hook::consts::SIGHUP - 1) & 1 == 1)
}
