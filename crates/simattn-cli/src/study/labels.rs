//! Labels beside the ends of lines: the room they need, and places moved apart just far enough not
//! to overlap.

/// What a character of a label takes on a phone, where letters are largest.
const CHARACTER: f64 = 7.2;

/// What the capitals of a name such as `MHA` take beyond that.
const CAPITALS: f64 = 12.0;

/// The width that labels of so many characters need, each cut to at most `most` of them.
pub(crate) fn width(characters: impl Iterator<Item = usize>, most: usize) -> f64 {
    CAPITALS + CHARACTER * characters.max().unwrap_or(0).min(most) as f64
}

/// Places for labels that want to be at `wanted`, in the same order as given.
///
/// Labels keep the order of their wanted places (ties keep the given order), are at least `spacing`
/// apart, and are as near to those places as that allows, in the sense of least squares. They stay
/// within `low..=high` where all of them fit there; where they do not, they begin at `low`.
pub(crate) fn spread(wanted: &[f64], spacing: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));

    // With the spacing taken out, labels only have to keep their order: isotonic regression, by
    // merging neighbours.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for (rank, &index) in order.iter().enumerate() {
        let mut block = (wanted[index] - rank as f64 * spacing, 1);
        while let Some(&(sum, count)) = blocks.last() {
            if sum / (count as f64) <= block.0 / block.1 as f64 {
                break;
            }
            block = (block.0 + sum, block.1 + count);
            blocks.pop();
        }
        blocks.push(block);
    }

    let top = (high - wanted.len().saturating_sub(1) as f64 * spacing).max(low);
    let mut places = vec![0.0; wanted.len()];
    let mut rank = 0;
    for (sum, count) in blocks {
        for _ in 0..count {
            places[order[rank]] = (sum / count as f64).clamp(low, top) + rank as f64 * spacing;
            rank += 1;
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_that_do_not_collide_stay() {
        assert_eq!(spread(&[50.0, 10.0], 14.0, 0.0, 100.0), [50.0, 10.0]);
    }

    #[test]
    fn labels_that_collide_part_evenly() {
        assert_eq!(spread(&[50.0, 50.0], 10.0, 0.0, 100.0), [45.0, 55.0]);
        assert_eq!(
            spread(&[100.0, 99.0, 98.0], 10.0, 0.0, 100.0),
            [100.0, 90.0, 80.0]
        );
    }

    proptest! {
        #[test]
        fn labels_never_overlap(wanted in prop::collection::vec(-50.0f64..400.0, 0..20), spacing in 1.0f64..15.0) {
            let places = spread(&wanted, spacing, 0.0, 300.0);
            for a in 0..wanted.len() {
                prop_assert!((-1e-9..=300.0 + 1e-9).contains(&places[a]));
                for b in 0..a {
                    prop_assert!((places[a] - places[b]).abs() >= spacing - 1e-9);
                    if wanted[a] != wanted[b] {
                        prop_assert_eq!(wanted[a] < wanted[b], places[a] < places[b]);
                    }
                }
            }
        }
    }
}
