//! `--device`: what a build without GPUs says to it.
#![cfg(not(feature = "gpu"))]

use std::process::{Command, Output};

fn bench_on(device: &str) -> Output {
    let sizes = "--batch 1 --seq 8 --heads 2 --expanded-heads 4 --head-dim 4 --expanded-head-dim 6";
    Command::new(env!("CARGO_BIN_EXE_simattn"))
        .args(["bench", "layer", "--iters", "1", "--warmup", "0"])
        .args(sizes.split(' '))
        .args(["--device", device])
        .output()
        .expect("the binary runs")
}

#[test]
fn a_device_that_was_not_built_for_is_one_line_and_exit_code_two() {
    for device in ["cuda", "rocm", "metal", "vulkan:1", "webgpu"] {
        let output = bench_on(device);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("build with --features"), "{text}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn auto_and_cpu_are_the_processor() {
    for device in ["auto", "cpu"] {
        let output = bench_on(device);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        assert!(text.contains("\"device\":\"cpu\""), "{text}");
    }
}
