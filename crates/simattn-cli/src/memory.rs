//! The process's memory: the allocator, how it keeps what was freed, what happens when nothing is
//! left, and how much a part of the run took.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_int;
use std::fs;
use std::io::Write;

use mimalloc::MiMalloc;

/// The allocator of the program: mimalloc, and where that has no memory left one line and exit code
/// 1 instead of an abort. Nothing is added to what succeeds but a comparison with null.
#[derive(Debug)]
pub struct Allocator;

// SAFETY: every call is MiMalloc's own, with the caller's arguments; what it returns is returned,
// except null, after which the process ends and nothing is returned at all.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is the one that MiMalloc asks for.
        let place = unsafe { MiMalloc.alloc(layout) };
        there(place, layout.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let place = unsafe { MiMalloc.alloc_zeroed(layout) };
        there(place, layout.size())
    }

    #[inline]
    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: `place` came from this allocator, which is to say from MiMalloc, with `layout`;
        // the caller promises the rest.
        let place = unsafe { MiMalloc.realloc(place, layout, size) };
        there(place, size)
    }

    #[inline]
    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: `place` came from this allocator, which is to say from MiMalloc, with `layout`.
        unsafe { MiMalloc.dealloc(place, layout) }
    }
}

#[inline]
fn there(place: *mut u8, size: usize) -> *mut u8 {
    if place.is_null() {
        out_of_memory(size);
    }
    place
}

/// Says what could not be had, without taking memory for it, and ends the process.
#[cold]
fn out_of_memory(size: usize) -> ! {
    unsafe extern "C" {
        fn _exit(status: c_int) -> !;
    }
    let mut line = [0u8; 160];
    let mut rest = &mut line[..];
    // A line that does not fit would be cut short, and this one fits.
    let _ = writeln!(
        rest,
        "simattn: out of memory: another {size} bytes are not available; use smaller sizes, or \
         a machine with more memory"
    );
    let left = rest.len();
    let length = line.len() - left;
    say(&line[..length]);
    // SAFETY: the C library's, which every program of Rust's standard library is linked to; it ends
    // the process at once. `std::process::exit` would run what others left to run, which may ask
    // for memory again or wait for a lock that this thread holds.
    unsafe { _exit(1) }
}

/// Writes to standard error past the standard library's lock, which this thread may hold.
#[cfg(unix)]
fn say(line: &[u8]) {
    use std::os::fd::FromRawFd;
    // SAFETY: descriptor 2 is standard error, which nobody closes, and `ManuallyDrop` keeps this
    // handle from closing it.
    let file = unsafe { fs::File::from_raw_fd(2) };
    let mut file = std::mem::ManuallyDrop::new(file);
    // Nobody is left to tell.
    let _ = file.write_all(line);
}

#[cfg(not(unix))]
fn say(line: &[u8]) {
    let _ = std::io::stderr().write_all(line);
}

/// Tells the allocator to keep freed pages instead of giving them back to the system.
///
/// A training step frees and takes the same large buffers over and over; without this, faulting
/// their pages in again costs up to a third of the time of a matrix product.
///
/// Buffers above 16 MiB come from the system and go back to it: the allocator lays buffers out in
/// chunks of 32 MiB, and one large buffer in each leaves a hole that little fits. A step has few of
/// them.
pub(crate) fn keep_freed_pages() {
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
pub(crate) struct Peak {
    started: bool,
}

impl Peak {
    /// Gives freed pages back to the system and starts a new high-water mark.
    ///
    /// Linux only: elsewhere nothing is measured.
    pub(crate) fn start() -> Self {
        set_purge_delay(0);
        // SAFETY: collects the allocator's freed pages; allowed at any time.
        unsafe { libmimalloc_sys::mi_collect(true) };
        keep_freed_pages();
        // "5" resets the high-water mark of the resident set (proc(5), clear_refs).
        let started = fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { started }
    }

    /// The largest resident set since the start; `None` where the system does not tell.
    pub(crate) fn bytes(&self) -> Option<u64> {
        self.started.then(|| status("VmHWM")).flatten()
    }
}

/// Resident memory of this process in bytes, now; `None` where the system does not tell.
pub(crate) fn resident() -> Option<u64> {
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
