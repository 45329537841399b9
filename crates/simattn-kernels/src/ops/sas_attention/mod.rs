#[cfg(feature = "cube")]
mod cube;
mod expansion;
mod flex;

use std::fmt::Debug;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Device, Tensor};
pub use expansion::sas_expand;

use super::autodiff::{Differentiable, parts};
use super::flex::has_kernels;
use super::gpu::has_gpu_kernels;
pub use crate::call::SasKeep;
use crate::call::{PackedOrder, Qkv, RopePlacement, SasCall, SasOptions, SasShape, Stages};
use crate::reference::{RopeTable, SasWeights, sas_attention_through};

/// Simulated attention between the projections: `q` [B, T, H, D], `k` and `v` [B, S, G, D] → [B, T,
/// H·D] or [B, T, H'·D]; see [`reference::sas_attention`](crate::reference::sas_attention).
///
/// One operation: only q, k, v and the log-sum-exp are kept for backward, which expands again;
/// memory grows with T and S, never with their product.
///
/// # Panics
/// If the shapes of inputs and weights do not match, or heads do not divide.
pub fn sas_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    weights: &SasWeights,
    tables: Option<(&RopeTable, &RopeTable)>,
    options: &SasOptions,
) -> Tensor<3> {
    sas_attention_keeping(q, k, v, weights, tables, options, SasKeep::Inputs)
}

/// [`sas_attention`] that keeps more for backward on a GPU, where there is memory for it.
///
/// # Panics
/// As [`sas_attention`].
pub fn sas_attention_keeping(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    weights: &SasWeights,
    tables: Option<(&RopeTable, &RopeTable)>,
    options: &SasOptions,
    keep: SasKeep,
) -> Tensor<3> {
    let tables = tables.filter(|_| options.rope != RopePlacement::None);
    let packed = PackedWeights::new(weights, q.dims()[2], &q.device());
    let dtype = q.dtype();
    let on_kernels = [Place::Cpu, Place::Gpu].into_iter().any(|place| {
        let inputs = [&q, &k, &v];
        inputs.iter().all(|x| place.takes(x, dtype))
            && packed
                .as_ref()
                .is_none_or(|packed| place.takes(&packed.values, dtype))
            && tables.is_none_or(|(q, k)| [q, k].iter().all(|t| place.takes(&t.cos, t.cos.dtype())))
    });
    let Some(packed) = packed.filter(|_| on_kernels) else {
        // Expansions are of one token each; what is between the tokens goes block by block.
        return sas_attention_through(super::attention, q, k, v, weights, tables, options);
    };
    let [batch, queries, heads, head_dim] = q.dims();
    let [_, keys, kv_heads, _] = k.dims();
    assert_eq!(k.dims(), [batch, keys, kv_heads, head_dim], "k beside q");
    assert_eq!(v.dims(), k.dims(), "v beside k");
    let expanded_head_dim = packed.expanded_head_dim.unwrap_or(head_dim);
    let shape = SasShape {
        batch,
        queries,
        keys,
        heads,
        kv_heads,
        expanded_heads: packed.expanded_heads,
        head_dim,
        expanded_head_dim,
        kernel_size: packed.kernel_size,
    };
    let half = tables.map_or(0, |(q, _)| q.cos.dims()[1]);
    let call = SasCall {
        shape,
        options: *options,
        stages: packed.stages,
        half,
        keep,
    };
    // Constants: cosines and sines of the queries, then of the keys.
    let table = match tables {
        Some((q, k)) => {
            let parts = [&q.cos, &q.sin, &k.cos, &k.sin];
            Tensor::cat(parts.map(|t| flat(t.clone())).to_vec(), 0)
        }
        None => Tensor::zeros([1], &q.device()),
    };
    let y = Tensor::<4>::from_dispatch(Dispatch::simulated_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        packed.values.into_dispatch(),
        table.into_dispatch(),
        call,
    ));
    let [_, _, out_heads, _] = y.dims();
    y.reshape([batch, queries, out_heads * head_dim])
}

/// Where kernels for simulated attention run.
#[derive(Clone, Copy)]
enum Place {
    Cpu,
    Gpu,
}

impl Place {
    fn takes<const R: usize>(self, x: &Tensor<R>, dtype: DType) -> bool {
        let has = match self {
            Self::Cpu => has_kernels(x),
            Self::Gpu => has_gpu_kernels(x),
        };
        has && x.dtype() == dtype
    }
}

fn flat<const R: usize>(x: Tensor<R>) -> Tensor<1> {
    let len = x.shape().num_elements();
    x.reshape([len])
}

/// All weights in one tensor, in [`PackedOrder`].
struct PackedWeights {
    values: Tensor<1>,
    stages: Stages,
    expanded_heads: usize,
    expanded_head_dim: Option<usize>,
    kernel_size: usize,
}

impl PackedWeights {
    /// `None` if the stages are of a combination that the kernels do not know.
    fn new(weights: &SasWeights, heads: usize, device: &Device) -> Option<Self> {
        let stages = Stages::of(weights)?;
        let Qkv { q, k, v } = weights;
        let mut kernel_sizes = [q, k, v]
            .into_iter()
            .flat_map(|e| &e.heads)
            .map(|s| s.first_weight.dims()[2]);
        let kernel_size = kernel_sizes.next().unwrap_or(1);
        if kernel_sizes.any(|other| other != kernel_size) {
            return None;
        }
        let flattened = weights.clone().map(|expansion| {
            expansion.map(
                |stage| stage.map(flat, |bias| bias),
                |stage| stage.map(flat, |bias| bias),
            )
        });
        let values = if stages.any() {
            Tensor::cat(PackedOrder::in_order(flattened), 0)
        } else {
            Tensor::zeros([1], device)
        };
        Some(Self {
            values,
            stages,
            expanded_heads: q.heads.as_ref().map_or(heads, |s| s.first_weight.dims()[0]),
            expanded_head_dim: q.features.as_ref().map(|s| s.first_weight.dims()[0]),
            kernel_size,
        })
    }
}

/// Simulated attention as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait SasAttentionOps: Backend {
    /// [`sas_attention`] with all weights packed in one tensor and the rotations' cosines and sines
    /// in another, which is a constant; [B, T, H, D] or [B, T, H', D].
    fn simulated_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        table: FloatTensor<Self>,
        call: SasCall,
    ) -> FloatTensor<Self>;
}

/// The gradients that a backend with [`SasAttentionOps`] has.
pub trait SasAttentionGradients: SasAttentionOps {
    /// What backward reads beside the gradient of the output.
    type Kept: Clone + Debug + Send + 'static;

    /// The output, of q, k, v, packed weights and table, and what backward reads.
    fn simulated_attention_kept(
        inputs: [FloatTensor<Self>; 5],
        call: SasCall,
    ) -> (FloatTensor<Self>, Self::Kept);
    /// Gradients of q, k, v and the packed weights.
    fn simulated_attention_gradients(
        kept: Self::Kept,
        dy: FloatTensor<Self>,
        call: SasCall,
    ) -> [FloatTensor<Self>; 4];
}

/// Of q, k, v and the packed weights.
#[derive(Debug)]
struct SimulatedAttention {
    call: SasCall,
}

impl<B: SasAttentionGradients> Differentiable<B, 4> for SimulatedAttention {
    type Kept = B::Kept;

    fn gradients(
        self,
        kept: Self::Kept,
        dy: FloatTensor<B>,
        _: [bool; 4],
    ) -> [Option<FloatTensor<B>>; 4] {
        B::simulated_attention_gradients(kept, dy, self.call).map(Some)
    }
}

impl<B: SasAttentionGradients, C: CheckpointStrategy> SasAttentionOps for Autodiff<B, C> {
    fn simulated_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        weights: FloatTensor<Self>,
        table: FloatTensor<Self>,
        call: SasCall,
    ) -> FloatTensor<Self> {
        let ([q, k, v, weights], nodes) = parts([q, k, v, weights]);
        let table = table.into_primitive();
        (SimulatedAttention { call }).record::<C>(nodes, |recorded| {
            if !recorded {
                return (B::simulated_attention(q, k, v, weights, table, call), None);
            }
            let (out, kept) = B::simulated_attention_kept([q, k, v, weights, table], call);
            (out, Some(kept))
        })
    }
}
