//! The tokens that may be drawn, and how likely each is.

/// Tokens by id, with weights that are not normalised. Sums are in float64 and in the order of ids.
pub(super) struct Distribution {
    /// Ids, rising, and their weights, the largest of which is 1.
    kept: Vec<(u32, f64)>,
}

impl Distribution {
    /// Every token of finite `logits`.
    pub(super) fn new(logits: &[f32], temperature: f64) -> Self {
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |&logit: &f32| ((f64::from(logit) - f64::from(largest)) / temperature).exp();
        Self {
            kept: (0..).zip(logits.iter().map(weight)).collect(),
        }
    }

    /// Keeps the `count` likeliest, and whatever is as likely as the last of them.
    pub(super) fn keep_top_k(&mut self, count: usize) {
        if count == 0 || count >= self.kept.len() {
            return;
        }
        let mut weights: Vec<f64> = self.kept.iter().map(|&(_, weight)| weight).collect();
        let (_, &mut least, _) = weights.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
        self.kept.retain(|&(_, weight)| weight >= least);
    }

    /// Keeps the likeliest until their probabilities reach `share`; of equals, smaller ids come
    /// first. One is kept at least.
    pub(super) fn keep_top_p(&mut self, share: f64) {
        if share >= 1.0 {
            return;
        }
        let enough = share * self.total();
        let mut order = self.kept.clone();
        order.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
        let mut before = 0.0;
        let reached = order.iter().position(|&(_, weight)| {
            before += weight;
            before >= enough
        });
        order.truncate(reached.map_or(order.len(), |last| last + 1));
        order.sort_by_key(|&(id, _)| id);
        self.kept = order;
    }

    /// Keeps what is at least `share` as likely as the likeliest.
    pub(super) fn keep_min_p(&mut self, share: f64) {
        // The likeliest has weight 1 and is never dropped.
        self.kept.retain(|&(_, weight)| weight >= share);
    }

    /// The token at a place of the cumulative distribution, `uniform` in [0, 1).
    pub(super) fn at(&self, uniform: f64) -> u32 {
        let target = uniform * self.total();
        let mut sum = 0.0;
        for &(id, weight) in &self.kept {
            sum += weight;
            if sum > target {
                return id;
            }
        }
        // Rounding may leave the target at the very end.
        let possible = self.kept.iter().rev().find(|&&(_, weight)| weight > 0.0);
        possible.map_or(0, |&(id, _)| id)
    }

    fn total(&self) -> f64 {
        self.kept.iter().map(|&(_, weight)| weight).sum()
    }
}
