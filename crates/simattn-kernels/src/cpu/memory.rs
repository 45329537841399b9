//! Memory that several threads fill, each its own part.

use std::cell::RefCell;
use std::sync::{Mutex, PoisonError};

/// A buffer that tasks write in disjoint parts.
///
/// It is only an address: a caller of [`Shared::at`] that writes there promises that no other task
/// reads or writes the same values at the same time, and that the buffer outlives the tasks.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    start: *mut f32,
    len: usize,
}

// SAFETY: an address carries no access; each access is an unsafe operation with its own proof.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// An output that is not initialised yet.
    pub fn from_output(out: super::output::Output<'_>) -> Self {
        Self {
            start: out.as_mut_ptr().cast(),
            len: out.len(),
        }
    }

    /// A buffer of `len` values that are not initialised, kept by `room`.
    pub fn room(room: &mut Room, len: usize) -> Self {
        let values = room.0.insert(Room::take(len));
        super::output::poison(&mut values.spare_capacity_mut()[..len]);
        Self {
            start: values.as_mut_ptr(),
            len,
        }
    }

    /// The address of value `index`, behind which `count` values lie inside the buffer.
    ///
    /// # Panics
    /// In builds with debug assertions, if they do not.
    #[inline(always)]
    pub fn at(self, index: usize, count: usize) -> *mut f32 {
        debug_assert!(
            index + count <= self.len,
            "{index} + {count} > {}",
            self.len
        );
        self.start.wrapping_add(index)
    }
}

/// As [`Shared`], to be read.
#[inline(always)]
pub fn read_at(values: &[f32], index: usize, count: usize) -> *const f32 {
    debug_assert!(
        index + count <= values.len(),
        "{index} + {count} > {}",
        values.len()
    );
    values.as_ptr().wrapping_add(index)
}

/// A large transient buffer. Buffers are handed from one call to the next: fresh memory costs a
/// page fault for every 4 KiB, which takes about as long as a kernel takes to fill it.
#[derive(Debug, Default)]
pub struct Room(Option<Vec<f32>>);

/// Buffers that no call uses now, at most [`KEPT`].
static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

const KEPT: usize = 16;

impl Room {
    /// The smallest free buffer that is large enough and not far too large, else a new one.
    fn take(len: usize) -> Vec<f32> {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |room: &Vec<f32>| (len..=len.saturating_mul(4)).contains(&room.capacity());
        let best = (0..free.len())
            .filter(|&i| fits(&free[i]))
            .min_by_key(|&i| free[i].capacity());
        match best {
            Some(best) => free.swap_remove(best),
            None => {
                // A buffer that did not fit makes place for one that will.
                let spare = (free.len() >= KEPT).then(|| free.remove(0));
                drop(free);
                drop(spare);
                Vec::with_capacity(len)
            }
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(room) = self.0.take().filter(|room| room.capacity() > 0) {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            if free.len() < KEPT {
                free.push(room);
            }
        }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` on N of this thread's buffers, each with room for the given number of values. What
/// they hold is unspecified, but initialised: NaN with debug assertions on, so that tests notice a
/// kernel that reads what it did not write. Calls may be nested.
pub fn with_scratch<const N: usize, R>(
    sizes: [usize; N],
    work: impl FnOnce([&mut [f32]; N]) -> R,
) -> R {
    let mut rooms: [Vec<f32>; N] =
        SCRATCH.with_borrow_mut(|free| std::array::from_fn(|_| free.pop().unwrap_or_default()));
    for (room, &size) in rooms.iter_mut().zip(&sizes) {
        if room.len() < size {
            room.resize(size, 0.0);
        }
    }
    let mut index = 0;
    let views = rooms.each_mut().map(|room| {
        index += 1;
        let view = &mut room[..sizes[index - 1]];
        if cfg!(debug_assertions) {
            view.fill(f32::NAN);
        }
        view
    });
    let result = work(views);
    SCRATCH.with_borrow_mut(|free| free.extend(rooms.into_iter().rev()));
    result
}
