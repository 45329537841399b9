//! How fast this machine reads memory: the measure of everything that is bound by weights.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

/// An array that no cache holds.
#[derive(Debug)]
pub struct MemoryRate {
    array: Vec<u64>,
}

/// Values in a part that one thread reads at a time.
const PART: usize = 1 << 18;

impl MemoryRate {
    /// Takes a GiB of memory.
    pub fn new() -> Self {
        // Not zeros: pages that were never written are all one page.
        Self {
            array: vec![1; 1 << 27],
        }
    }

    /// Bytes per second of one reading from beginning to end by all of rayon's threads.
    pub fn once(&self) -> f64 {
        let start = Instant::now();
        let parts = self.array.par_chunks(PART).with_max_len(8);
        let total: u64 = parts.map(sum).sum();
        black_box(total);
        size_of_val(&self.array[..]) as f64 / start.elapsed().as_secs_f64()
    }
}

impl Default for MemoryRate {
    fn default() -> Self {
        Self::new()
    }
}

fn sum(part: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    for values in part.as_chunks::<32>().0 {
        for (sum, value) in sums.iter_mut().zip(values) {
            *sum = sum.wrapping_add(*value);
        }
    }
    sums.iter().fold(0, |sum, x| sum.wrapping_add(*x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_read() {
        assert_eq!(sum(&[3; 32 * 40]), 3 * 32 * 40);
    }
}
