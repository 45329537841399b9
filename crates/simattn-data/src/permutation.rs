//! A seeded order of 0..n that needs no memory proportional to n.

use crate::hash::avalanche;
use simattn_random::stream;

const ROUNDS: usize = 8;

/// A bijection of `0..len` onto itself, drawn by a seed and a name.
///
/// A balanced Feistel network permutes the next even power of two; an image that falls outside the
/// range is permuted again until it falls inside ("cycle walking", Black and Rogaway, 2002). The
/// power is below `4 · len`, so fewer than four evaluations are expected per index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// The permutation of `0..len` that belongs to this seed and name.
    ///
    /// `len` may be at most 2⁶².
    pub fn new(len: u64, seed: u64, name: &str) -> Self {
        assert!(
            len <= 1 << 62,
            "a permutation of at most 2^62 indices, not {len}"
        );
        let bits = u64::BITS - len.saturating_sub(1).leading_zeros();
        let mut random = stream(seed, name);
        Self {
            len,
            half_bits: bits.div_ceil(2).max(1),
            keys: std::array::from_fn(|_| random.next_u64()),
        }
    }

    /// How many indices are permuted.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing to permute.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The image of `index`; `None` when it is not below [`Permutation::len`].
    pub fn get(&self, index: u64) -> Option<u64> {
        if index >= self.len {
            return None;
        }
        let mut image = self.network(index);
        // Ends because the network is a bijection: the walk is a cycle through `index`, which lies
        // inside.
        while image >= self.len {
            image = self.network(image);
        }
        Some(image)
    }

    fn network(&self, value: u64) -> u64 {
        let mask = (1_u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (
                right,
                left ^ (avalanche(right.wrapping_add(key) ^ key.rotate_left(32)) & mask),
            );
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn images(len: u64, seed: u64) -> Vec<u64> {
        let permutation = Permutation::new(len, seed, "test");
        (0..len)
            .map(|index| permutation.get(index).unwrap())
            .collect()
    }

    #[test]
    fn every_small_size_is_a_bijection() {
        for len in 0..300 {
            let mut sorted = images(len, 11);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..len).collect::<Vec<_>>(), "len {len}");
            assert_eq!(Permutation::new(len, 11, "test").get(len), None);
        }
    }

    proptest! {
        #[test]
        fn any_size_and_seed_is_a_bijection(len in 1_u64..20_000, seed: u64) {
            let mut seen = vec![false; len as usize];
            for image in images(len, seed) {
                prop_assert!(!std::mem::replace(&mut seen[image as usize], true));
            }
        }
    }

    #[test]
    fn the_order_depends_on_seed_and_name() {
        assert_ne!(images(1000, 1), images(1000, 2));
        let named = Permutation::new(1000, 1, "other");
        assert_ne!(
            images(1000, 1),
            (0..1000).map(|i| named.get(i).unwrap()).collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_first_image_is_uniform_over_seeds() {
        const SIZE: u64 = 7;
        const SEEDS: u64 = 7_000;
        let mut counts = [0_f64; SIZE as usize];
        for seed in 0..SEEDS {
            let image = Permutation::new(SIZE, seed, "test").get(0).unwrap();
            counts[image as usize] += 1.0;
        }
        let expected = SEEDS as f64 / SIZE as f64;
        let chi_square: f64 = counts
            .iter()
            .map(|n| (n - expected).powi(2) / expected)
            .sum();
        // 6 degrees of freedom: a fair draw exceeds 22.5 once in a thousand.
        assert!(chi_square < 22.5, "{chi_square} from {counts:?}");
    }

    #[test]
    fn large_sizes_cost_nothing_to_set_up() {
        let permutation = Permutation::new(1 << 62, 5, "test");
        assert!(permutation.get((1 << 62) - 1).unwrap() < 1 << 62);
    }
}
