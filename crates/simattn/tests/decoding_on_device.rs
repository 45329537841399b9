//! What decoding with caches on a device promises, for every variant: on the CPU, and on the first
//! GPU where the build has one.

mod texts;
mod variants;

use burn::tensor::Device;
use proptest::prelude::*;
use simattn::decoding::{
    CacheForm, DecodeError, DeviceOptions, DeviceText, Logits, RunningOnDevice,
};
use simattn::{Decoder, ModelConfig, Precision};
use texts::{VOCABULARY, all_models, full_pass, ids, is_sas, relative, same_bits};

/// Where the tests run. `SIMATTN_REQUIRE_GPU=1` makes it a failure that there is no GPU.
fn device() -> Device {
    #[cfg(any(
        feature = "cuda",
        feature = "rocm",
        feature = "metal",
        feature = "vulkan",
        feature = "webgpu"
    ))]
    {
        use burn::tensor::DeviceType;
        let kinds = [
            #[cfg(feature = "cuda")]
            DeviceType::Cuda,
            #[cfg(feature = "rocm")]
            DeviceType::Rocm,
            #[cfg(feature = "metal")]
            DeviceType::Metal,
            #[cfg(feature = "vulkan")]
            DeviceType::Vulkan,
            #[cfg(feature = "webgpu")]
            DeviceType::WebGpu,
        ];
        let found = kinds.into_iter().find_map(|kind| {
            // A runtime whose driver is not there may panic instead of listing nothing.
            let devices = std::panic::catch_unwind(|| Device::enumerate(kind).into_vec());
            devices.ok()?.into_iter().next()
        });
        let required = std::env::var_os("SIMATTN_REQUIRE_GPU").is_some();
        assert!(found.is_some() || !required, "no GPU is there");
        if let Some(device) = found {
            return device;
        }
    }
    Device::flex()
}

fn decoder(config: &ModelConfig, seed: u64) -> Decoder {
    Decoder::new(config, seed, &device()).expect("a valid model")
}

/// Logits of every place, in calls that end at `cuts`, and from the last of them on token by token.
fn in_pieces(model: &RunningOnDevice, ids: &[u32], cuts: &[usize]) -> Vec<f32> {
    let mut text = model.start();
    let mut logits = Vec::new();
    for &cut in cuts {
        let end = cut.clamp(text.len(), ids.len());
        let piece = &ids[text.len()..end];
        let piece = model.extend(&mut text, piece, Logits::All);
        logits.extend(piece.expect("tokens"));
    }
    for &id in &ids[text.len()..] {
        logits.extend(model.step(&mut [&mut text], &[id]).expect("a token"));
    }
    assert_eq!(text.len(), ids.len());
    logits
}

/// The types that caches can have on the device.
fn cache_types() -> Vec<Precision> {
    let device = device();
    let narrow = Precision::Bfloat16;
    let has =
        |precision: Precision| device == Device::flex() || device.supports_dtype(precision.dtype());
    if !has(narrow) {
        println!("skipped: this device does not compute in bfloat16");
    }
    let all = [Precision::Float32, narrow];
    all.into_iter()
        .filter(|&precision| has(precision))
        .collect()
}

fn options(cache: Precision, form: CacheForm) -> DeviceOptions {
    DeviceOptions { cache, form }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3, ..ProptestConfig::default() })]

    /// Token by token and in pieces: the full pass but for rounding, and each other bit for bit.
    #[test]
    fn every_way_through_a_text_gives_the_same_logits(
        seed in 0u64..1000,
        len in 1usize..100,
        cuts in prop::collection::vec(0usize..100, 0..4),
    ) {
        let ids = ids(len, seed);
        let mut cuts = cuts;
        cuts.sort_unstable();
        for (name, config) in all_models() {
            let decoder = decoder(&config, seed);
            let expected = full_pass(&decoder, &ids);
            let model = RunningOnDevice::new(decoder, DeviceOptions::default());
            let found = in_pieces(&model, &ids, &cuts);
            let off = relative(&found, &expected);
            prop_assert!(off < 1e-5, "{name}, {len} tokens: {off:e}");
            same_bits(&in_pieces(&model, &ids, &[len]), &found, &name);
        }
    }

    /// What SAS keeps of a token is rounded before it is expanded, so that it does not matter when
    /// that happens.
    #[test]
    fn compact_and_expanded_caches_give_the_same_bits(seed in 0u64..1000, len in 1usize..100) {
        let ids = ids(len, seed);
        for (name, config) in all_models().into_iter().filter(|(_, config)| is_sas(config)) {
            for cache in cache_types() {
                let decoder = decoder(&config, seed);
                let form = |form| RunningOnDevice::new(decoder.clone(), options(cache, form));
                let (expanded, compact) = (form(CacheForm::Expanded), form(CacheForm::Compact));
                let found = in_pieces(&compact, &ids, &[len.saturating_sub(2)]);
                let what = format!("{name}, {cache:?}");
                same_bits(&found, &in_pieces(&expanded, &ids, &[len]), &what);
                assert!(compact.bytes(1) < expanded.bytes(1), "{what}");
                assert_eq!(compact.stored_bytes(7), expanded.stored_bytes(7), "{what}");
            }
        }
    }
}

#[test]
fn a_row_of_a_step_does_not_depend_on_its_neighbours() {
    for (name, config) in all_models().into_iter().step_by(2) {
        let model = RunningOnDevice::new(decoder(&config, 5), DeviceOptions::default());
        let lens = [3, 70, 1, 64, 300, 63, 65, 128];
        let start = |(number, &len): (usize, &usize)| {
            let mut text = model.start();
            let ids = ids(len, number as u64);
            model.extend(&mut text, &ids, Logits::None).expect("tokens");
            text
        };
        let texts: Vec<DeviceText> = lens.iter().enumerate().map(start).collect();
        let next = ids(lens.len(), 77);
        let alone = |(text, &id): (&DeviceText, &u32)| {
            let row = model.step(&mut [&mut text.clone()], &[id]);
            row.expect("a token")
        };
        let alone: Vec<Vec<f32>> = texts.iter().zip(&next).map(alone).collect();
        for rows in [2, 3, 8] {
            let mut beside = texts[..rows].to_vec();
            let mut beside: Vec<&mut DeviceText> = beside.iter_mut().collect();
            let found = model.step(&mut beside, &next[..rows]).expect("tokens");
            same_bits(
                &found,
                &alone[..rows].concat(),
                &format!("{name}, {rows} rows"),
            );
        }
    }
}

#[test]
fn a_text_is_the_same_after_it_was_shared_or_set_aside() {
    let (len, more) = (150, 10);
    let ids = ids(len + more, 3);
    for (name, config) in all_models().into_iter().step_by(2) {
        for form in [CacheForm::Expanded, CacheForm::Compact] {
            let model =
                RunningOnDevice::new(decoder(&config, 9), options(Precision::Float32, form));
            let expected = in_pieces(&model, &ids, &[len + more]);
            let behind = |from: usize| &expected[from * VOCABULARY..];
            let mut text = model.start();
            let computed = model.extend(&mut text, &ids[..len], Logits::None);
            computed.expect("tokens");

            let stored = model.set_aside(&text);
            let mut restored = model.restore(&stored);
            let mut shared = model.restore(&model.set_prefix_aside(&text, 1));
            let mut again = model.restore(&model.set_prefix_aside(&restored, 2));
            let mut beside = text.clone();
            // What a copy writes must not reach the original.
            model.step(&mut [&mut beside], &[1]).expect("a token");
            for (text, what) in [
                (&mut restored, "restored"),
                (&mut shared, "shared"),
                (&mut again, "shared of the restored"),
                (&mut text, "itself"),
            ] {
                let from = text.len();
                let found = model
                    .extend(text, &ids[from..], Logits::All)
                    .expect("tokens");
                same_bits(&found, behind(from), &format!("{name}, {form:?}, {what}"));
            }
            assert_eq!((stored.len(), restored.len()), (len, len + more));
        }
    }
}

#[test]
fn bfloat16_is_near() {
    if !cache_types().contains(&Precision::Bfloat16) {
        return;
    }
    let ids = ids(80, 8);
    for (name, config) in all_models() {
        let decoder = decoder(&config, 6);
        let exact = full_pass(&decoder, &ids);
        let options = options(Precision::Bfloat16, CacheForm::Expanded);
        let narrow = RunningOnDevice::new(decoder.clone(), options);
        let off = relative(&in_pieces(&narrow, &ids, &[70]), &exact);
        assert!(off < 0.03 && off > 1e-6, "{name}: {off:e}");
        let wide = RunningOnDevice::new(decoder, DeviceOptions::default());
        assert_eq!(wide.bytes(300), 2 * narrow.bytes(300), "{name}");
        assert_eq!(
            wide.stored_bytes(300),
            2 * narrow.stored_bytes(300),
            "{name}"
        );
    }
}

#[test]
fn tokens_that_cannot_be_are_refused_and_change_nothing() {
    let (_, mut config) = all_models().remove(0);
    config.context = 70;
    let model = RunningOnDevice::new(decoder(&config, 1), DeviceOptions::default());
    let mut text = model.start();
    let computed = model.extend(&mut text, &ids(69, 1), Logits::None);
    computed.expect("tokens");
    let unknown = model.extend(&mut text, &[3, 31], Logits::Last);
    let expected = DecodeError::UnknownToken {
        id: 31,
        vocabulary: VOCABULARY,
    };
    assert_eq!(unknown, Err(expected));
    let full = model.extend(&mut text, &[3, 4], Logits::Last);
    let expected = DecodeError::Full {
        held: 69,
        more: 2,
        context: 70,
    };
    assert_eq!(full, Err(expected));
    let mut other = model.start();
    assert!(model.step(&mut [&mut other, &mut text], &[1, 31]).is_err());
    assert_eq!((text.len(), other.len()), (69, 0));
    let last = model
        .extend(&mut text, &[3], Logits::Last)
        .expect("a token");
    assert_eq!(last.len(), VOCABULARY);
    assert_eq!(model.extend(&mut text, &[], Logits::Last), Ok(Vec::new()));
}
