//! Which keys a query sees, and which blocks of them are worth a look.

use cubecl::prelude::*;

use crate::call::AttentionOptions;

/// What an attention kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AttentionPlan {
    /// Rows and columns of a tile.
    pub tile: usize,
    /// Width of q and k.
    pub width: usize,
    /// Width of v.
    pub value_width: usize,
    /// Whether a query sees no later key.
    pub causal: bool,
    /// Whether a query sees the latest keys only.
    pub windowed: bool,
}

/// The numbers that a mask needs and that kernels are not compiled for.
#[derive(Clone, Copy, Debug)]
pub(super) struct MaskNumbers {
    /// Position of query 0 on the keys' axis.
    pub offset: u32,
    /// Keys in a query's sight; unused without a window.
    pub window: u32,
}

impl MaskNumbers {
    /// Beyond the longest tensors that a device holds, all offsets and windows mean the same.
    const FAR: usize = 1 << 30;

    pub fn new(options: &AttentionOptions) -> Self {
        Self {
            offset: options.offset.min(Self::FAR) as u32,
            window: options.window.unwrap_or(0).min(Self::FAR) as u32,
        }
    }
}

/// Queries, keys and how the first stand to the second.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Mask {
    pub queries: usize,
    pub keys: usize,
    pub offset: usize,
    pub window: usize,
}

/// Whether query `i` sees key `j`; false for rows that are not there.
#[cube]
pub(super) fn sees(mask: &Mask, i: usize, j: usize, #[comptime] plan: AttentionPlan) -> bool {
    let position = i + mask.offset;
    let mut seen = i < mask.queries && j < mask.keys;
    if comptime!(plan.causal) {
        seen = seen && j <= position;
    }
    if comptime!(plan.windowed) {
        seen = seen && j + mask.window > position;
    }
    seen
}

/// Whether each of `rows` queries from `i` on sees each of `columns` keys from `j` on.
#[cube]
pub(super) fn sees_all(
    mask: &Mask,
    i: usize,
    j: usize,
    #[comptime] rows: usize,
    #[comptime] columns: usize,
    #[comptime] plan: AttentionPlan,
) -> bool {
    let position = i + mask.offset;
    let mut all = i + rows <= mask.queries && j + columns <= mask.keys;
    if comptime!(plan.causal) {
        all = all && j + columns <= position + 1;
    }
    if comptime!(plan.windowed) {
        all = all && j + mask.window >= position + rows;
    }
    all
}

/// Whether none of `rows` queries from `i` on sees any of `columns` keys from `j` on.
#[cube]
pub(super) fn sees_none(
    mask: &Mask,
    i: usize,
    j: usize,
    #[comptime] rows: usize,
    #[comptime] columns: usize,
    #[comptime] plan: AttentionPlan,
) -> bool {
    let position = i + mask.offset;
    let mut none = i >= mask.queries || j >= mask.keys;
    if comptime!(plan.causal) {
        none = none || j >= position + rows;
    }
    if comptime!(plan.windowed) {
        none = none || j + columns + mask.window <= position + 1;
    }
    none
}

/// The first key that one of the queries from `first` on sees.
#[cube]
pub(super) fn first_key(mask: &Mask, first: usize, #[comptime] plan: AttentionPlan) -> usize {
    let mut key = comptime!(0usize).runtime();
    if comptime!(plan.windowed) {
        let next = first + mask.offset + 1;
        if next > mask.window {
            key = next - mask.window;
        }
    }
    key
}

/// One past the last key that one of a tile of queries from `first` on sees.
#[cube]
pub(super) fn end_key(mask: &Mask, first: usize, #[comptime] plan: AttentionPlan) -> usize {
    let mut end = mask.keys;
    if comptime!(plan.causal) {
        let limit = first + comptime!(plan.tile) + mask.offset;
        if limit < end {
            end = limit;
        }
    }
    end
}

/// The first query that sees one of the keys from `first` on.
#[cube]
pub(super) fn first_query(mask: &Mask, first: usize, #[comptime] plan: AttentionPlan) -> usize {
    let mut query = comptime!(0usize).runtime();
    if comptime!(plan.causal) {
        let offset = mask.offset;
        if first > offset {
            query = first - offset;
        }
    }
    query
}

/// One past the last query that sees one of a tile of keys from `first` on.
#[cube]
pub(super) fn end_query(mask: &Mask, first: usize, #[comptime] plan: AttentionPlan) -> usize {
    let mut end = mask.queries;
    if comptime!(plan.windowed) {
        // The last key is seen from positions below its own and the window's sum.
        let mut limit = first + comptime!(plan.tile) - 1 + mask.window;
        if limit < mask.offset {
            limit = mask.offset;
        }
        if limit - mask.offset < end {
            end = limit - mask.offset;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a tile, against every pair in it.
    #[test]
    fn tiles_are_seen_whole_or_not_at_all_as_their_pairs_are() {
        const ROWS: usize = 4;
        const COLUMNS: usize = 3;
        let mut said = [0, 0];
        for case in 0..4 {
            let plan = AttentionPlan {
                tile: ROWS,
                width: 16,
                value_width: 16,
                causal: case % 2 == 1,
                windowed: case / 2 == 1,
            };
            for place in 0..5 * 2 * 13 * 14 {
                let (offset, window) = (place % 5, [3, 9][place / 5 % 2]);
                let (i, j) = (place / 10 % 13, place / 130);
                let mask = Mask {
                    queries: 11,
                    keys: 12,
                    offset,
                    window,
                };
                let pairs = (i..i + ROWS).flat_map(|i| (j..j + COLUMNS).map(move |j| (i, j)));
                let seen = pairs.filter(|&(i, j)| sees(&mask, i, j, plan)).count();
                let all = sees_all(&mask, i, j, ROWS, COLUMNS, plan);
                let none = sees_none(&mask, i, j, ROWS, COLUMNS, plan);
                let case = format!("offset {offset}, window {window}, tile {i}, {j}, {plan:?}");
                assert_eq!(all, seen == ROWS * COLUMNS, "{case}");
                // A tile may be looked at in vain, where a mask and an end meet in it.
                assert!(!none || seen == 0, "{case}");
                said = [said[0] + usize::from(all), said[1] + usize::from(none)];
            }
        }
        assert!(said.iter().all(|&count| count > 0));
    }
}
