//! How backward is cut into tasks, and what each thread keeps between them.

use crate::cpu::blocked::BackwardScratch;

/// The tasks of a backward pass: how the query blocks that read one key/value head are dealt to
/// them, by shape alone.
#[derive(Clone, Copy, Debug)]
pub struct BackwardTasks {
    kv_heads: usize,
    /// Tasks for one key/value head.
    pub parts: usize,
    share: usize,
    blocks: usize,
}

impl BackwardTasks {
    /// For `kv_heads` heads (of all the batch), each read by `share` query heads of `blocks`
    /// blocks.
    pub fn new(kv_heads: usize, share: usize, blocks: usize) -> Self {
        let wanted = 32usize.div_ceil(kv_heads.max(1));
        let parts = if kv_heads >= 16 {
            1
        } else {
            wanted.min(share * blocks).max(1)
        };
        Self {
            kv_heads,
            parts,
            share,
            blocks,
        }
    }

    /// How many tasks there are.
    pub fn count(&self) -> usize {
        self.kv_heads * self.parts
    }

    /// The (query head of the group, query block) pairs of a task: neighbours go to different
    /// tasks, as their work is alike.
    pub fn items(&self, task: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Self {
            parts,
            share,
            blocks,
            ..
        } = *self;
        (task % parts..share * blocks)
            .step_by(parts)
            .map(move |item| (item / blocks, item % blocks))
    }
}

/// A thread's buffers for [`backward`](crate::cpu::blocked::backward).
#[derive(Debug, Default)]
pub struct Scratch {
    /// Gradient of one block of queries.
    pub gradient: Vec<f32>,
    /// The rest.
    pub backward: BackwardScratch,
}

thread_local! {
    static SCRATCH: std::cell::Cell<Option<Scratch>> = const { std::cell::Cell::new(None) };
}

impl Scratch {
    /// This thread's buffers, or new ones.
    pub fn take() -> Self {
        SCRATCH.take().unwrap_or_default()
    }

    /// Keeps the buffers for the thread's next task.
    pub fn give_back(self) {
        SCRATCH.set(Some(self));
    }
}
