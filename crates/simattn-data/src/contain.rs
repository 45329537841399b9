//! Foreign code on foreign bytes.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// Does what may panic inside the library `library`, and says in one line how it broke off. Nothing
/// is printed.
///
/// What `work` changed before it panicked must not be used after.
///
/// # Errors
///
/// What the panic said.
pub fn contained<T>(library: &str, work: impl FnOnce() -> T) -> Result<T, String> {
    thread_local! {
        static QUIET: Cell<bool> = const { Cell::new(false) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.try_with(Cell::get).unwrap_or(false) {
                before(panic);
            }
        }));
    });
    let outer = QUIET.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    QUIET.set(outer);
    result.map_err(|panic| {
        let said = one_line(said(&*panic));
        format!("the {library} library breaks off on it ({said})")
    })
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// A foreign message as one line of bearable length.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 300;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::contained;

    #[test]
    fn a_panic_is_an_error_of_one_line() {
        let broken = contained("parquet", || -> u8 { panic!("so\nit is") });
        assert_eq!(
            broken,
            Err("the parquet library breaks off on it (so it is)".to_owned())
        );
        assert_eq!(contained("parquet", || 3), Ok(3));
    }
}
