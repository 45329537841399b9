//! `simattn bench` as a user runs it, at sizes that take no time.

mod common;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use common::text;
use serde_json::Value;

const SMALL: &str = "--batch 2 --seq 9 --heads 2 --expanded-heads 4 --head-dim 6 --expanded-head-dim 10 --kernel 3 \
                     --layers 1 --vocab 17 --threads 1 --iters 2 --warmup 1";

fn bench(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simattn"))
        .arg("bench")
        .args(arguments.split_whitespace())
        .output()
        .expect("the binary runs")
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line is one JSON object"))
        .collect()
}

fn keys(record: &Value) -> BTreeSet<&str> {
    let object = record.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn every_work_runs_small_with_both_implementations_and_says_the_same_things() {
    let common = "what variant device dtype kernels instruction_set threads positions median_ms min_ms max_ms \
                  tokens_per_s peak_mib gflops sgemm_gflops percent_of_sgemm";
    let works: [(&str, &[&str]); 3] = [
        ("layer", &["layer forward", "layer forward+backward"]),
        ("train", &["train step"]),
        ("decode", &["layer decode"]),
    ];
    for (work, names) in works {
        for variant in ["sas", "mha"] {
            for kernels in ["fast", "reference"] {
                let arguments = format!("{work} --variant {variant} --kernels {kernels} {SMALL}");
                let records = lines(&bench(&arguments));
                let found: Vec<&str> = records.iter().filter_map(|r| r["what"].as_str()).collect();
                assert_eq!(found, names, "{arguments}");
                for record in &records {
                    let mut expected: BTreeSet<&str> = common.split_whitespace().collect();
                    if work == "train" {
                        expected.insert("parameters");
                    }
                    assert_eq!(keys(record), expected, "{arguments}");
                    assert_eq!(record["variant"], variant);
                    assert_eq!(record["kernels"], kernels);
                    assert_eq!(
                        (&record["device"], &record["dtype"]),
                        (&"cpu".into(), &"f32".into())
                    );
                    let number = |key: &str| record[key].as_f64().expect("a number");
                    assert!(number("min_ms") <= number("median_ms"));
                    assert!(number("median_ms") <= number("max_ms"));
                    assert!(number("tokens_per_s") > 0.0 && number("sgemm_gflops") > 0.0);
                    if cfg!(target_os = "linux") {
                        assert!(number("peak_mib") > 1.0, "{record}");
                    }
                }
            }
        }
    }
}

/// The form without the wider q and k says so, and has fewer parameters.
#[test]
fn heads_alone_can_be_expanded() {
    let small = SMALL.replace("--expanded-head-dim 10 ", "");
    for work in ["layer", "train", "decode"] {
        for record in lines(&bench(&format!("{work} --heads-only {small}"))) {
            assert_eq!(record["heads_only"], true, "{record}");
            assert_eq!(record["variant"], "sas");
        }
    }
    let parameters = |arguments: &str| {
        let records = lines(&bench(&format!("train {arguments}")));
        records[0]["parameters"].as_u64().expect("a number")
    };
    // Two maps with their biases for each of q and k: 6 to 10 and 10 to 10.
    let maps = 2 * (6 * 10 + 10 + 10 * 10 + 10);
    assert_eq!(
        parameters(SMALL) - parameters(&format!("--heads-only {small}")),
        maps
    );
}

#[test]
fn wrong_arguments_get_exit_code_2_and_nothing_is_measured() {
    let cases = [
        ("sleep", "possible values: layer, train, decode"),
        ("layer --variant mla", "possible values: sas, mha"),
        ("layer --batch 0", "at least 1"),
        ("layer --seq many", "a whole number"),
        ("layer --iters 0", "at least 1"),
        ("layer --threads 1000000", "at most 1024"),
        ("layer --kernel 4", "kernel_size = 4"),
        ("layer --expanded-heads 35", "expanded_heads = 35"),
        ("train --expanded-head-dim 95", "rotary"),
        ("layer --heads-only --variant mha", "--variant sas"),
        (
            "layer --heads-only --expanded-head-dim 96",
            "cannot be used with",
        ),
        ("layer --heads 9000000000000000000", "model.width"),
        ("layer --batch 1000000 --seq 1000000", "make it smaller"),
        ("layer --against-torch python3", "--peer"),
        ("layer --peer peer.py", "--against-torch"),
        ("layer --rounds 2", "--against-torch"),
        (
            "layer --against-torch python3 --peer nowhere.py",
            "nowhere.py: no such file",
        ),
        (
            "layer --kernel 4 --against-torch python3 --peer nowhere.py",
            "kernel_size = 4",
        ),
    ];
    for (arguments, expected) in cases {
        let output = bench(arguments);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {log}");
        assert!(log.contains(expected), "{arguments}: {log}");
        assert!(output.stdout.is_empty(), "{arguments}");
    }
}

/// A shell in place of Python, and a script that prints what a peer would.
#[cfg(unix)]
#[test]
fn both_programs_run_in_turn_and_their_ratios_come_out() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("peer.sh");
    let seen = folder.path().join("seen");
    let peer = format!(
        "echo \"$@\" >> {}\n\
         echo '{{\"parameters\": 5}}'\n\
         echo '{{\"what\": \"layer forward\", \"variant\": \"sas\", \"median_ms\": 1e6, \"peak_mib\": 1e6}}'\n\
         echo '{{\"what\": \"layer forward+backward\", \"variant\": \"sas\", \"median_ms\": 2e6, \"peak_mib\": 1e6}}'\n",
        seen.display()
    );
    std::fs::write(&script, peer).expect("a small file");
    let script = script.display();
    let output = bench(&format!(
        "layer {SMALL} --against-torch sh --peer {script} --rounds 2"
    ));
    let records = lines(&output);
    assert_eq!(records.len(), 2);
    for (record, name) in records
        .iter()
        .zip(["layer forward", "layer forward+backward"])
    {
        assert_eq!(
            (&record["what"], &record["rounds"]),
            (&name.into(), &2.into())
        );
        let ratio = &record["time_torch_over_ours"];
        let [min, median, max] =
            ["min", "median", "max"].map(|key| ratio[key].as_f64().expect("a number"));
        assert!(1.0 < min && min <= median && median <= max, "{record}");
    }
    let arguments = std::fs::read_to_string(&seen).expect("the peer ran");
    assert_eq!(arguments.lines().count(), 2, "{arguments}");
    assert!(arguments.contains("--expanded-head-dim 10"), "{arguments}");
    assert!(!arguments.contains("--heads-only"), "{arguments}");
    assert!(
        arguments.starts_with("layer --variant sas --batch 2 --seq 9"),
        "{arguments}"
    );
    let log = text(&output.stderr);
    let order: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("layer forward ") && line.starts_with("round"))
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    assert_eq!(order, ["simattn", "torch", "simattn", "torch"], "{log}");
}

/// What the other program says in the end is what the user reads.
#[cfg(unix)]
#[test]
fn a_peer_that_fails_ends_the_comparison_in_one_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("peer.sh");
    std::fs::write(&script, "echo 'no module named torch' >&2\nexit 3\n").expect("a small file");
    let script = script.display();
    let output = bench(&format!(
        "decode {SMALL} --against-torch sh --peer {script} --rounds 1"
    ));
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let last = log.lines().last().expect("a line");
    assert!(
        last.contains("failed") && last.ends_with("no module named torch"),
        "{last}"
    );
    assert!(output.stdout.is_empty());
}
