use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape};

use super::{AttentionGradients, AttentionOps, AttentionState};
use crate::call::{AttentionOptions, AttentionShape, Qkv};
use crate::cpu::attention::{
    BackwardInputs, HeadLayout, Heads, attention_backward, attention_forward,
};
use crate::ops::flex::{tensor, values};

/// A tensor whose tokens' features are contiguous, and where they stand.
fn readable(x: FlexTensor) -> FlexTensor {
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
