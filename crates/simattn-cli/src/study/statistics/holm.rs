//! Holm's correction for several tests.
//!
//! S. Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of
//! Statistics 6 (1979), 65–70. Whatever the tests have in common (here, the baseline's runs), at
//! most the level's share of studies without a difference claims one.

/// The corrected p-values, in the order of `p`: what is at most the level there remains.
///
/// The smallest is multiplied by the number of tests, the next by one less, and so on; none may be
/// smaller than one before it, and none is larger than 1.
pub(crate) fn corrected(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![1.0; p.len()];
    let mut largest = 0.0;
    for (rank, index) in order.into_iter().enumerate() {
        largest = f64::max(largest, (p.len() - rank) as f64 * p[index]).min(1.0);
        corrected[index] = largest;
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_worked_out_by_hand() {
        let close = |p: &[f64], expected: &[f64]| {
            let found = corrected(p);
            let apart = found
                .iter()
                .zip(expected)
                .any(|(a, b)| (a - b).abs() > 1e-12);
            assert!(found.len() == expected.len() && !apart, "{found:?}");
        };
        // 4 × 0.005, 3 × 0.01; 2 × 0.03 = 0.06 holds down 1 × 0.04.
        close(&[0.01, 0.04, 0.03, 0.005], &[0.03, 0.06, 0.06, 0.02]);
        close(&[0.6, 0.5], &[1.0, 1.0]);
        close(&[0.02], &[0.02]);
        close(&[], &[]);
    }
}
