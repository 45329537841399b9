//! What a model is given in one step.

/// Token ids and what follows each of them, both row-major `[batch, context]`.
///
/// `targets[b, t]` is the token that comes after `inputs[b, t]`, so
/// `targets[b, t] == inputs[b, t + 1]` in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[batch, context]`.
    pub inputs: Vec<i32>,
    /// The next token ids, `[batch, context]`.
    pub targets: Vec<i32>,
    /// Rows.
    pub batch: usize,
    /// Tokens in a row.
    pub context: usize,
}

impl Batch {
    pub(crate) fn with_capacity(batch: usize, context: usize) -> Self {
        Self {
            inputs: Vec::with_capacity(batch * context),
            targets: Vec::with_capacity(batch * context),
            batch: 0,
            context,
        }
    }

    /// Appends a row of `context + 1` tokens.
    pub(crate) fn push(&mut self, window: &[u32]) {
        debug_assert_eq!(window.len(), self.context + 1);
        // Below 2³¹, as every source promises.
        self.inputs
            .extend(window[..self.context].iter().map(|&id| id as i32));
        self.targets.extend(window[1..].iter().map(|&id| id as i32));
        self.batch += 1;
    }
}
