//! The order in which the numbers of several ranks are added.

/// Adds `count` pieces of one length that lie in a row: neighbours first, then neighbouring pairs,
/// and so on. The sum is in the first piece.
pub(super) fn add_neighbours(pieces: &mut [f32], count: usize) {
    let length = pieces.len() / count.max(1);
    let mut stride = 1;
    while stride < count {
        for first in (0..count - stride).step_by(2 * stride) {
            let (left, right) = pieces.split_at_mut((first + stride) * length);
            let left = &mut left[first * length..][..length];
            for (sum, other) in left.iter_mut().zip(&right[..length]) {
                *sum += other;
            }
        }
        stride *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_added_before_pairs_of_them() {
        // In float32 only one order gives 2: (1e8 − 1e8) + (1 + 1).
        let mut pieces = [1e8, 7.0, -1e8, 0.0, 1.0, 1.0, 1.0, 1.0];
        add_neighbours(&mut pieces, 4);
        assert_eq!(pieces[..2], [2.0, 9.0]);
        let mut pieces = [1.0, 1e8, -1e8];
        add_neighbours(&mut pieces, 3);
        assert_eq!(pieces[0], 0.0, "(1 + 1e8) − 1e8");
        let mut one = [3.0, 4.0];
        add_neighbours(&mut one, 1);
        assert_eq!(one, [3.0, 4.0]);
    }
}
