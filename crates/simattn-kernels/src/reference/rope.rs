use burn::tensor::{DType, Device, Tensor, TensorData};

/// Cosines and sines of rotary position embeddings, for the positions of one pass.
///
/// Angle of position p and pair i: p · base^(−2i/R), with R the number of rotated features
/// (arXiv 2104.09864); computed in float64 and rounded once.
#[derive(Clone, Debug)]
pub struct RopeTable {
    /// [T, R/2]
    pub cos: Tensor<2>,
    /// [T, R/2]
    pub sin: Tensor<2>,
}

impl RopeTable {
    /// The table for positions `offset .. offset + tokens` and `rotary_dim` (even) features.
    ///
    /// # Panics
    /// If `rotary_dim` is odd: features rotate in pairs.
    pub fn new(
        tokens: usize,
        offset: usize,
        rotary_dim: usize,
        base: f64,
        device: &Device,
        dtype: DType,
    ) -> Self {
        assert!(
            rotary_dim.is_multiple_of(2),
            "rotary_dim {rotary_dim} is odd"
        );
        let half = rotary_dim / 2;
        let angles: Vec<f64> = (offset..offset + tokens)
            .flat_map(|position| {
                (0..half)
                    .map(move |i| position as f64 * base.powf(-2.0 * i as f64 / rotary_dim as f64))
            })
            .collect();
        let table = |f: fn(f64) -> f64| {
            let values: Vec<f64> = angles.iter().map(|&a| f(a)).collect();
            Tensor::from_data(TensorData::new(values, [tokens, half]), (device, dtype))
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
        }
    }

    /// How many features the table rotates (R).
    pub fn rotary_dim(&self) -> usize {
        2 * self.cos.dims()[1]
    }
}

/// Rotates the first R features of every head, half-split as Llama and GPT-NeoX do:
/// `(x1, x2) → (x1·cos − x2·sin, x2·cos + x1·sin)` with x1, x2 the halves of the R features.
///
/// `x` [B, T, H, D], `table` for T positions and R ≤ D features; the rest passes unchanged.
pub fn rotate(x: Tensor<4>, table: &RopeTable) -> Tensor<4> {
    let width = x.dims()[3];
    let rotary = table.rotary_dim();
    let half = rotary / 2;
    let per_head = |t: &Tensor<2>| t.clone().unsqueeze_dim::<3>(1).unsqueeze::<4>();
    let (cos, sin) = (per_head(&table.cos), per_head(&table.sin));
    let x1 = x.clone().narrow(3, 0, half);
    let x2 = x.clone().narrow(3, half, half);
    let mut parts = vec![
        x1.clone() * cos.clone() - x2.clone() * sin.clone(),
        x2 * cos + x1 * sin,
    ];
    if rotary < width {
        parts.push(x.narrow(3, rotary, width - rotary));
    }
    Tensor::cat(parts, 3)
}
