//! The process's memory: how the allocator keeps it, and how much a part of the run took.

use std::fs;

/// Tells the allocator to keep freed pages instead of giving them back to the system.
///
/// A training step frees and takes the same large buffers over and over; without this, faulting
/// their pages in again costs up to a third of the time of a matrix product.
///
/// Buffers above 16 MiB come from the system and go back to it: the allocator lays buffers out in chunks of 32 MiB, and one
/// large buffer in each leaves a hole that little fits. A step has few of them.
pub fn keep_freed_pages() {
    const LARGEST_IN_A_CHUNK_KIB: std::ffi::c_long = 16 << 10;
    // mi_option_arena_max_object_size of mimalloc.h, version 3.
    const ARENA_MAX_OBJECT_SIZE: libmimalloc_sys::mi_option_t = 45;
    // SAFETY: sets a number in mimalloc's option table; allowed at any time, from any thread.
    unsafe { libmimalloc_sys::mi_option_set(ARENA_MAX_OBJECT_SIZE, LARGEST_IN_A_CHUNK_KIB) };
    set_purge_delay(-1);
}

fn set_purge_delay(milliseconds: std::ffi::c_long) {
    // mi_option_purge_delay of mimalloc.h, which the bindings leave out.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets a number in mimalloc's option table; allowed at any time, from any thread.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, milliseconds) }
}

/// Measures the peak of resident memory from now on; see [`Peak::bytes`].
#[derive(Debug)]
pub struct Peak {
    started: bool,
}

impl Peak {
    /// Gives freed pages back to the system and starts a new high-water mark.
    ///
    /// Linux only: elsewhere nothing is measured.
    pub fn start() -> Self {
        set_purge_delay(0);
        // SAFETY: collects the allocator's freed pages; allowed at any time.
        unsafe { libmimalloc_sys::mi_collect(true) };
        keep_freed_pages();
        // "5" resets the high-water mark of the resident set (proc(5), clear_refs).
        let started = fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { started }
    }

    /// The largest resident set since the start; `None` where the system does not tell.
    pub fn bytes(&self) -> Option<u64> {
        self.started.then(|| status("VmHWM")).flatten()
    }
}

/// Resident memory of this process in bytes, now; `None` where the system does not tell.
pub fn resident() -> Option<u64> {
    status("VmRSS")
}

/// A line of `/proc/self/status` that counts kibibytes.
fn status(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let rest = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_peak_grows_with_what_is_touched() {
        let peak = Peak::start();
        let before = peak.bytes().expect("Linux tells");
        let touched = std::hint::black_box(vec![1u8; 256 << 20]);
        let after = peak.bytes().expect("Linux tells");
        // Far less, because the tests beside this one give back what the first reading still held.
        assert!(
            after >= before + (192 << 20),
            "{before} {after} {}",
            touched.len()
        );
    }
}
