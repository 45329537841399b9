use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};

use super::{SasAttentionGradients, SasAttentionOps};
use crate::call::{Aggregation, PackedOrder, Qkv, SasCall, SasShape};
use crate::cpu::sas_attention::{self as kernel, Rotation, SasGradients, SasInputs};
use crate::ops::flex::{tensor, values};

/// What the CPU's kernels read: q, k and v, and the rotations in `table`.
fn inputs_of<'a>(call: &SasCall, [q, k, v]: [&'a [f32]; 3], table: &'a [f32]) -> SasInputs<'a> {
    let half = call.half;
    let rotations = (half > 0).then(|| {
        let (of_queries, of_keys) = table.split_at(2 * call.shape.queries * half);
        [of_queries, of_keys].map(|table| {
            let (cos, sin) = table.split_at(table.len() / 2);
            Rotation { cos, sin, half }
        })
    });
    SasInputs {
        q,
        k,
        v,
        rotations: rotations.map(|[q, k]| (q, k)),
    }
}

/// Where the call's weights stand in their tensor.
fn order_of(call: &SasCall) -> PackedOrder {
    PackedOrder::new(&call.shape, call.stages)
}

impl SasAttentionOps for Flex {
    fn simulated_attention(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        weights: FlexTensor,
        table: FlexTensor,
        call: SasCall,
    ) -> FlexTensor {
        forward([q, k, v, weights, table], &call).0
    }
}

/// The output, of q, k, v, packed weights and table, and the log-sum-exp [B, H', T].
fn forward(inputs: [FlexTensor; 5], call: &SasCall) -> (FlexTensor, FlexTensor) {
    let [q, k, v, weights, table] = inputs.map(|x| x.to_contiguous());
    let inputs = inputs_of(call, [&q, &k, &v].map(values), values(&table));
    let weights = order_of(call).slices(values(&weights));
    let (out, sums) = kernel::sas_attention_forward(&call.shape, inputs, &weights, &call.options);
    let SasShape {
        batch,
        queries,
        heads,
        expanded_heads,
        head_dim,
        ..
    } = call.shape;
    let out_heads = match call.options.aggregation {
        Aggregation::Peaa => heads,
        Aggregation::Full => expanded_heads,
    };
    (
        tensor(out, [batch, queries, out_heads, head_dim]),
        tensor(sums, [batch, expanded_heads, queries]),
    )
}

impl SasAttentionGradients for Flex {
    /// q, k, v, packed weights, table and the log-sum-exp.
    type Kept = [FlexTensor; 6];

    fn simulated_attention_kept(
        inputs: [FlexTensor; 5],
        call: SasCall,
    ) -> (FlexTensor, [FlexTensor; 6]) {
        let (out, sums) = forward(inputs.clone(), &call);
        let [q, k, v, weights, table] = inputs;
        (out, [q, k, v, weights, table, sums])
    }

    fn simulated_attention_gradients(
        kept: [FlexTensor; 6],
        dy: FlexTensor,
        call: SasCall,
    ) -> [FlexTensor; 4] {
        let [q, k, v, weights, table, sums] = kept.map(|x| x.to_contiguous());
        let dy = dy.to_contiguous();
        let inputs = inputs_of(&call, [&q, &k, &v].map(values), values(&table));
        let SasGradients {
            q: dq,
            k: dk,
            v: dv,
            q_weights,
            k_weights,
            v_weights,
        } = kernel::sas_attention_backward(
            &call.shape,
            inputs,
            &order_of(&call).slices(values(&weights)),
            values(&sums),
            values(&dy),
            &call.options,
        );
        let of_weights = Qkv::from([q_weights, k_weights, v_weights]);
        let mut packed = Vec::with_capacity(values(&weights).len());
        for gradient in PackedOrder::in_order(of_weights) {
            packed.extend(gradient);
        }
        // Without any stage the packed weights are one unused zero.
        packed.resize(values(&weights).len(), 0.0);
        let len = packed.len();
        [
            tensor(dq, q.shape()),
            tensor(dk, k.shape()),
            tensor(dv, v.shape()),
            tensor(packed, [len]),
        ]
    }
}
