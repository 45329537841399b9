//! Places where a test stops a run, or lets the system refuse, on purpose.
//!
//! The environment variable `SIMATTN_FAULT` holds a list such as
//! `hold@checkpoint.state#2,full@metrics.append#3+`: what happens, at which point, at which passing
//! of it (from 1; with `+` at every later one too). `hold` says so on standard error and stops that
//! thread for good, so that a test can kill the process exactly there; `full` is a full disk, `wrong`
//! a number that is none, and `panic` a bug.
//! Without the variable a point costs one comparison.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The variable's name.
const VARIABLE: &str = "SIMATTN_FAULT";

#[derive(Debug)]
struct Fault {
    action: Action,
    point: String,
    first: u64,
    last: u64,
    passed: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Hold,
    Full,
    Wrong,
    Panic,
}

/// To be called where a fault may strike.
///
/// # Errors
///
/// [`io::ErrorKind::StorageFull`] or [`io::ErrorKind::InvalidData`] where the variable asks for it.
///
/// # Panics
///
/// Where the variable asks for that.
pub fn pass(point: &str) -> io::Result<()> {
    static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
    let faults = FAULTS.get_or_init(|| {
        let list = std::env::var(VARIABLE).unwrap_or_default();
        list.split(',').filter_map(parse).collect()
    });
    let mut action = None;
    for fault in faults.iter().filter(|fault| fault.point == point) {
        // Every entry counts every passing, also where another strikes.
        let number = fault.passed.fetch_add(1, Ordering::Relaxed) + 1;
        if (fault.first..=fault.last).contains(&number) {
            action = action.or(Some(fault.action));
        }
    }
    match action {
        None => Ok(()),
        Some(Action::Full) => Err(io::ErrorKind::StorageFull.into()),
        Some(Action::Wrong) => Err(io::ErrorKind::InvalidData.into()),
        Some(Action::Panic) => panic!("asked to at {point}"),
        Some(Action::Hold) => {
            let _ = writeln!(io::stderr(), "{VARIABLE}: held at {point}");
            loop {
                std::thread::park();
            }
        }
    }
}

/// One entry of the list; what is not understood does nothing.
fn parse(entry: &str) -> Option<Fault> {
    let (action, place) = entry.trim().split_once('@')?;
    let (point, number) = place.split_once('#').unwrap_or((place, "1+"));
    let (number, open) = match number.strip_suffix('+') {
        Some(number) => (number, true),
        None => (number, false),
    };
    let first = number.parse().ok()?;
    Some(Fault {
        action: match action {
            "hold" => Action::Hold,
            "full" => Action::Full,
            "wrong" => Action::Wrong,
            "panic" => Action::Panic,
            _ => return None,
        },
        point: point.to_owned(),
        first,
        last: if open { u64::MAX } else { first },
        passed: AtomicU64::new(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_say_what_where_and_when() {
        let read = |entry| parse(entry).map(|f| (f.action, f.point, f.first, f.last));
        assert_eq!(
            read("hold@checkpoint.state#2"),
            Some((Action::Hold, "checkpoint.state".to_owned(), 2, 2))
        );
        assert_eq!(
            read(" full@a#3+"),
            Some((Action::Full, "a".to_owned(), 3, u64::MAX))
        );
        assert_eq!(
            read("full@a"),
            Some((Action::Full, "a".to_owned(), 1, u64::MAX))
        );
        for wrong in ["", "a", "burn@a", "full@a#x"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert!(pass("nowhere").is_ok());
    }
}
