/// What one attention call needs beside its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Factor on the scores before the softmax, usually 1/√width of q and k.
    pub scale: f64,
    /// Whether query i sees only the keys up to its own position.
    pub causal: bool,
    /// The absolute position of query 0 on the keys' axis: S − T when decoding with a cache.
    pub offset: usize,
    /// How many of the latest keys a query sees, its own position included; `None`: all.
    pub window: Option<usize>,
}

impl AttentionOptions {
    /// Causal attention over equally many queries and keys, scale 1/√`width`.
    pub fn causal(width: usize) -> Self {
        Self {
            scale: 1.0 / (width as f64).sqrt(),
            causal: true,
            offset: 0,
            window: None,
        }
    }

    /// Whether query `i` (counted from 0 in its tensor) may look at key `j`.
    pub fn visible(&self, i: usize, j: usize) -> bool {
        let position = i + self.offset;
        (!self.causal || j <= position)
            && self.window.is_none_or(|w| j.saturating_add(w) > position)
    }
}

/// Sizes of one attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// B
    pub batch: usize,
    /// H, query heads.
    pub heads: usize,
    /// G, key/value heads; divides H. Query head h reads key/value head ⌊h / (H/G)⌋.
    pub kv_heads: usize,
    /// T
    pub queries: usize,
    /// S
    pub keys: usize,
    /// Width of q and k.
    pub width: usize,
    /// Width of v and of the output.
    pub value_width: usize,
}

impl AttentionShape {
    /// The sizes of q [B, H, T, D'], k [B, G, S, D'] and v [B, G, S, D].
    ///
    /// # Panics
    /// If k does not fit q and v, or G does not divide H.
    pub fn of(q: [usize; 4], k: [usize; 4], v: [usize; 4]) -> Self {
        let [batch, heads, queries, width] = q;
        let [_, kv_heads, keys, value_width] = v;
        assert_eq!(k, [batch, kv_heads, keys, width], "k beside q and v");
        let shape = Self {
            batch,
            heads,
            kv_heads,
            queries,
            keys,
            width,
            value_width,
        };
        shape.check_heads();
        shape
    }

    /// # Panics
    /// If the key/value heads do not divide the query heads.
    pub(crate) fn check_heads(&self) {
        let Self {
            heads, kv_heads, ..
        } = *self;
        assert!(
            kv_heads > 0 && heads.is_multiple_of(kv_heads),
            "{kv_heads} key/value heads do not divide {heads} query heads"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_beyond_all_numbers_hides_nothing() {
        let options = AttentionOptions {
            window: Some(usize::MAX),
            ..AttentionOptions::causal(8)
        };
        assert!(options.visible(5, 0) && options.visible(5, 5) && !options.visible(5, 6));
    }
}
