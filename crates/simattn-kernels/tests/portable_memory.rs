//! The form of attention for other devices and float types never has the scores of all queries in
//! memory, neither forward nor backward. Alone in its process: it counts what is allocated.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use burn::tensor::{DType, Device, Tensor};
use simattn_kernels::ops;
use simattn_kernels::reference::{
    Aggregation, AttentionOptions, Expansion, ExpansionOptions, FeatureExpansion, HeadExpansion,
    RopePlacement, SasOptions, SasWeights,
};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed to the system's allocator unchanged; only numbers are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(live, Relaxed);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that lived at a time during `work`, beyond what lived before.
fn peak(work: impl FnOnce()) -> usize {
    let before = LIVE.load(Relaxed);
    MOST.store(before, Relaxed);
    work();
    MOST.load(Relaxed) - before
}

/// float64 on the CPU has no kernels.
fn ramp<const R: usize>(shape: [usize; R]) -> Tensor<R> {
    let device = Device::flex().autodiff();
    let len: usize = shape.iter().product();
    Tensor::<1, burn::tensor::Int>::arange(0..len as i64, &device)
        .float()
        .cast(DType::F64)
        .sin()
        .reshape(shape)
        .detach()
        .require_grad()
}

fn attention(tokens: usize, window: Option<usize>) -> usize {
    let (q, k, v) = (
        ramp([1, 4, tokens, 6]),
        ramp([1, 2, tokens, 6]),
        ramp([1, 2, tokens, 4]),
    );
    let options = AttentionOptions {
        window,
        ..AttentionOptions::causal(6)
    };
    peak(|| {
        let y = ops::attention(q.clone(), k.clone(), v.clone(), &options);
        let gradients = (y.clone() * y).sum().backward();
        assert!(k.grad(&gradients).is_some());
    })
}

fn simulated(tokens: usize) -> usize {
    let [heads, expanded, width, wide, kernel] = [1, 4, 4, 6, 3];
    let stage = || HeadExpansion {
        first_weight: ramp([expanded, heads, kernel]),
        first_bias: ramp([expanded]),
        second_weight: ramp([expanded, expanded, kernel]),
        second_bias: ramp([expanded]),
    };
    let features = || FeatureExpansion {
        first_weight: ramp([wide, width]),
        first_bias: ramp([wide]),
        second_weight: ramp([wide, wide]),
        second_bias: ramp([wide]),
    };
    let expansion = |features| Expansion {
        heads: Some(stage()),
        features,
    };
    let weights = SasWeights {
        q: expansion(Some(features())),
        k: expansion(Some(features())),
        v: expansion(None),
    };
    let input = || ramp([1, tokens, heads, width]);
    let (q, k, v) = (input(), input(), input());
    let options = SasOptions {
        attention: AttentionOptions::causal(wide),
        expansion: ExpansionOptions::default(),
        rope: RopePlacement::None,
        aggregation: Aggregation::Peaa,
    };
    peak(|| {
        let y = ops::sas_attention(q.clone(), k, v, &weights, None, &options);
        let gradients = (y.clone() * y).sum().backward();
        assert!(q.grad(&gradients).is_some());
    })
}

#[test]
fn four_times_the_tokens_take_about_four_times_the_memory() {
    let (short, long) = (512, 2048);
    let scores = 4 * long * long * size_of::<f64>();
    for (name, few, many) in [
        ("attention", attention(short, None), attention(long, None)),
        (
            "window",
            attention(short, Some(100)),
            attention(long, Some(100)),
        ),
        ("simulated", simulated(short), simulated(long)),
    ] {
        let ratio = many as f64 / few as f64;
        eprintln!("{name}: {few} and {many} bytes, {ratio:.2} times");
        assert!(ratio < 4.6, "{name}: {few} and {many} bytes");
        assert!(
            many < scores,
            "{name}: {many} bytes, and one tensor of scores has {scores}"
        );
    }
}
