use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Bytes, DType, Shape, Tensor};

use super::cube::has_gpu_kernels;
use super::flex::{has_kernels, tensor, values};
use super::portable_attention;
use crate::call::{AttentionOptions, AttentionShape, Qkv};
use crate::cpu::attention::{
    BackwardInputs, HeadLayout, Heads, attention_backward, attention_forward,
};

/// Softmax attention: `q` [B, H, T, D'], `k` [B, G, S, D'], `v` [B, G, S, D] → [B, H, T, D]; see
/// [`reference::attention`](crate::reference::attention).
///
/// Memory grows with T and S, never with their product, forward and backward. Inputs may be views, such as swapped axes of
/// [B, T, H, D] or slices of a packed projection, as long as the features of a token are contiguous: they are read in place. The
/// result stands in memory as [B, T, H, D], so that swapping its axes back costs nothing.
///
/// # Panics
/// If G does not divide H or the shapes do not match.
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    options: &AttentionOptions,
) -> Tensor<4> {
    let on_cpu = has_kernels(&q) && has_kernels(&k) && has_kernels(&v);
    let on_gpu = [&q, &k, &v]
        .iter()
        .all(|x| has_gpu_kernels(x) && x.dtype() == q.dtype());
    if !(on_cpu || on_gpu) {
        return portable_attention::attention(q, k, v, options);
    }
    Tensor::from_dispatch(Dispatch::softmax_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        *options,
    ))
}

/// Softmax attention as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait AttentionOps: Backend {
    /// [`attention`]
    fn softmax_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        options: AttentionOptions,
    ) -> FloatTensor<Self>;
}

/// What backward reads beside the gradient of the output: q, k, v, the output and the log-sum-exp.
pub type AttentionState<B> = [FloatTensor<B>; 5];

/// The gradients that a backend with [`AttentionOps`] has.
pub trait AttentionGradients: AttentionOps {
    /// The output, and the log-sum-exp of every query [B, H, T].
    fn attention_with_sums(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// Gradients of q, k and v.
    fn attention_gradients(
        state: AttentionState<Self>,
        dy: FloatTensor<Self>,
        options: AttentionOptions,
    ) -> [FloatTensor<Self>; 3];
}

/// A tensor whose tokens' features are contiguous, and where they stand.
pub(super) fn readable(x: FlexTensor) -> FlexTensor {
    let layout = x.layout();
    let strides = layout.strides();
    if strides[3] == 1 && strides[..3].iter().all(|&stride| stride >= 0) {
        x
    } else {
        x.to_contiguous()
    }
}

fn heads(x: &FlexTensor) -> Heads<'_> {
    let layout = x.layout();
    let stride = |axis: usize| layout.strides()[axis] as usize;
    Heads {
        values: &x.storage::<f32>()[layout.start_offset()..],
        layout: HeadLayout {
            batch_stride: stride(0),
            head_stride: stride(1),
            token_stride: stride(2),
        },
    }
}

fn shape_of(q: &FlexTensor, k: &FlexTensor, v: &FlexTensor) -> AttentionShape {
    let [q, k, v] = [q, k, v].map(|x| x.shape().dims());
    AttentionShape::of(q, k, v)
}

/// A tensor [B, H, T, D] whose values stand as [B, T, H, D].
fn token_major(x: Vec<f32>, [batch, heads, tokens, width]: [usize; 4]) -> FlexTensor {
    let strides = [heads * tokens * width, width, heads * width, 1];
    let layout = Layout::new(
        Shape::new([batch, heads, tokens, width]),
        strides.map(|stride| stride as isize).to_vec(),
        0,
    );
    FlexTensor::new(Bytes::from_elems(x), layout, DType::F32)
}

impl AttentionOps for Flex {
    fn softmax_attention(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        options: AttentionOptions,
    ) -> FlexTensor {
        Self::attention_with_sums(q, k, v, options).0
    }
}

impl AttentionGradients for Flex {
    fn attention_with_sums(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        options: AttentionOptions,
    ) -> (FlexTensor, FlexTensor) {
        let (q, k, v) = (readable(q), readable(k), readable(v));
        let shape = shape_of(&q, &k, &v);
        let AttentionShape {
            batch,
            heads: count,
            queries,
            value_width,
            ..
        } = shape;
        let layout = HeadLayout::token_major(count, queries, value_width);
        let (out, sums) =
            attention_forward(&shape, heads(&q), heads(&k), heads(&v), &options, layout);
        (
            token_major(out, [batch, count, queries, value_width]),
            tensor(sums, [batch, count, queries]),
        )
    }

    fn attention_gradients(
        [q, k, v, out, sums]: AttentionState<Self>,
        dy: FlexTensor,
        options: AttentionOptions,
    ) -> [FlexTensor; 3] {
        let [q, k, v, out, dy] = [q, k, v, out, dy].map(readable);
        let shape = shape_of(&q, &k, &v);
        let AttentionShape {
            batch,
            heads: count,
            kv_heads,
            queries,
            keys,
            width,
            value_width,
        } = shape;
        let gradients = attention_backward(
            &shape,
            &BackwardInputs {
                q: heads(&q),
                k: heads(&k),
                v: heads(&v),
                out: heads(&out),
                log_sum_exp: values(&sums),
                out_gradient: heads(&dy),
            },
            &options,
            Qkv {
                q: HeadLayout::token_major(count, queries, width),
                k: HeadLayout::token_major(kv_heads, keys, width),
                v: HeadLayout::token_major(kv_heads, keys, value_width),
            },
        );
        [
            token_major(gradients.q, [batch, count, queries, width]),
            token_major(gradients.k, [batch, kv_heads, keys, width]),
            token_major(gradients.v, [batch, kv_heads, keys, value_width]),
        ]
    }
}

#[derive(Debug)]
struct SoftmaxAttention;

impl<B: AttentionGradients> Backward<B, 3> for SoftmaxAttention {
    type State = (AttentionState<B>, AttentionOptions);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let (state, options) = ops.state;
        let of_inputs = B::attention_gradients(state, dy, options);
        for (node, gradient) in ops.parents.into_iter().zip(of_inputs) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: AttentionGradients, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn softmax_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        let ((q, q_node), (k, k_node), (v, v_node)) =
            (q.into_parts(), k.into_parts(), v.into_parts());
        match SoftmaxAttention
            .prepare::<C>([q_node, k_node, v_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (out, sums) = B::attention_with_sums(q.clone(), k.clone(), v.clone(), options);
                prepared.finish(([q, k, v, out.clone(), sums], options), out)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::softmax_attention(q, k, v, options)),
        }
    }
}
