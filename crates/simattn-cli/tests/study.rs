//! Studies that are killed, stopped, shared between machines and joined again.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command};

use common::{Dice, Place, kill, read_until, text};
use serde_json::Value;

const CONFIG: &str = r#"
seed = 3
[model]
context = 16
layers = 1
width = 16
attention = { kind = "sas", heads = 2, head_dim = 8, expanded_heads = 4, expanded_head_dim = 12, kernel_size = 3 }
[data]
tales_train_bytes = 20000
tales_validation_bytes = 4000
[train]
steps = 80
batch = 2
evaluate_every = 7
evaluation_batches = 1
log_every = 1
checkpoint_every = 16
keep_checkpoints = 2
"#;

/// Three variants, two seeds, and two rates to try: six runs after six tries.
const STUDY: &str = "compare --config study.toml --variants mha,gqa,sas --seeds 2 \
    --tune-learning-rate 1e-3 2e-3 --tune-steps 20";

fn place() -> Place {
    let place = Place::empty();
    place.write("study.toml", CONFIG);
    place
}

/// A study's results without what differs between two machines or two days.
fn results(folder: &Path) -> Value {
    fn forget(value: &mut Value) {
        const OF_THE_DAY: [&str; 7] = [
            "name",
            "created",
            "command",
            "seconds",
            "tokens_per_second",
            "peak_memory_bytes",
            "threads",
        ];
        match value {
            Value::Object(fields) => {
                let is_variant = fields.contains_key("runs");
                fields.retain(|field, _| {
                    !OF_THE_DAY.contains(&field.as_str()) || field == "name" && is_variant
                });
                fields.values_mut().for_each(forget);
            }
            Value::Array(values) => values.iter_mut().for_each(forget),
            _ => {}
        }
    }
    let json = fs::read(folder.join("results.json")).expect("results");
    let mut results = serde_json::from_slice(&json).expect("whole at any moment");
    forget(&mut results);
    results
}

/// Asserts that two studies have the same results, and names the first that differs.
fn assert_same(a: &Value, b: &Value) {
    fn difference(place: &str, a: &Value, b: &Value) -> Option<String> {
        match (a, b) {
            (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
                let mut fields = a.iter();
                fields.find_map(|(key, a)| {
                    let b = b.get(key).unwrap_or(&Value::Null);
                    difference(&format!("{place}.{key}"), a, b)
                })
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                let mut items = a.iter().zip(b).enumerate();
                items.find_map(|(n, (a, b))| difference(&format!("{place}[{n}]"), a, b))
            }
            _ => (a != b).then(|| format!("{place}: {a} and {b}")),
        }
    }
    if let Some(difference) = difference("", a, b) {
        panic!("{}", difference.chars().take(400).collect::<String>());
    }
}

/// Everything in a folder, but for the lock.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.display().to_string();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if !name.ends_with(".lock") {
            found.push((name, fs::read(&path).expect("a small file")));
        }
    }
    found.sort();
    found
}

/// A study that is caught at a point, and is to be killed there.
fn held(mut command: Command, point: &str) -> Child {
    command.env("SIMATTN_FAULT", format!("hold@{point}"));
    let mut child = command.spawn().expect("the binary runs");
    let caught = read_until(&mut child, |line| line.starts_with("SIMATTN_FAULT"));
    assert!(caught, "ended before {point}");
    child
}

#[test]
fn a_study_that_is_killed_again_and_again_ends_with_the_same_results() {
    let place = place();
    let mut alone = place.command(&format!("{STUDY} --out alone"));
    alone.env("RAYON_NUM_THREADS", "1");
    assert!(alone.output().expect("the binary runs").status.success());
    // At each of these at most one run is finished when it is killed.
    let points = [
        "study.run#1",
        "study.run#2",
        "study.finished#1",
        "study.written#2",
        "study.written#3",
        "file.rename#2",
        "file.rename#4",
        "file.rename#5",
        "checkpoint.begin#1",
        "checkpoint.optimizer#1",
        "checkpoint.rename#1",
        "checkpoint.renamed#1",
    ];
    let mut dice = Dice(17);
    let (mut kills, mut between) = (0, 0);
    for attempt in 0..40 {
        let mut command = place.command(&format!("{STUDY} --out killed"));
        let point = points[dice.below(points.len() as u64) as usize];
        let by_step = attempt % 3 == 2;
        if !by_step {
            command.env("SIMATTN_FAULT", format!("hold@{point}"));
        }
        let mut child = command.spawn().expect("the binary runs");
        let mut left = 1 + dice.below(40);
        let alive = read_until(&mut child, |line| {
            left = left.saturating_sub(u64::from(line.contains(" step ")));
            if by_step {
                left == 0
            } else {
                line.starts_with("SIMATTN_FAULT")
            }
        });
        if !alive {
            assert!(child.wait().expect("it ends").success());
            break;
        }
        kill(child);
        kills += 1;
        between += u32::from(!by_step && !point.starts_with("checkpoint"));
        let so_far = place.path("killed/results.json");
        if so_far.exists() {
            results(&place.path("killed"));
        }
    }
    assert!(
        kills >= 10 && between >= 3,
        "{kills} kills, {between} between steps"
    );
    let said = place.succeed(&format!("{STUDY} --out killed"));
    assert_same(
        &results(&place.path("killed")),
        &results(&place.path("alone")),
    );
    // A finished study repeats nothing, and shows its results again.
    let again = place.run(&format!("{STUDY} --out killed"));
    assert_eq!(text(&again.stdout), said);
    assert!(
        !text(&again.stderr).contains(" step "),
        "{}",
        text(&again.stderr)
    );
    let mut left: Vec<String> = fs::read_dir(place.path("killed/runs"))
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into()
        })
        .collect();
    left.sort();
    assert_eq!(left.len(), 12, "{left:?}");
    assert!(left.iter().all(|name| name.ends_with(".json")), "{left:?}");
    println!("{kills} kills, {between} of them between steps");
}

#[test]
fn shares_that_are_merged_are_the_whole_study() {
    let place = place();
    place.succeed(&format!("{STUDY} --out whole"));
    place.succeed(&format!("{STUDY} --only 1/2 --out one"));
    place.succeed(&format!("{STUDY} --only 2/2 --out two"));
    place.succeed("compare --merge one two/results.json --out merged");
    assert_same(
        &results(&place.path("merged")),
        &results(&place.path("whole")),
    );
    assert!(place.path("merged/report.html").is_file());

    place.succeed("compare --merge merged/results.json --out drawn-again");
    assert_same(
        &results(&place.path("drawn-again")),
        &results(&place.path("merged")),
    );
    let partial = place.run("compare --merge one one --out half");
    assert!(text(&partial.stderr).contains("3 runs of this study are in none of them"));
    place.succeed("compare --config study.toml --variants mha,gqa,sas --steps 2 --out other");
    let refused = place.refuse("compare --merge one other --out never");
    assert!(
        refused.contains("one and other: not of one study: "),
        "{refused}"
    );
    let json = fs::read_to_string(place.path("one/results.json")).expect("results");
    let mut changed: Value = serde_json::from_str(&json).expect("results");
    changed["variants"][0]["runs"][0]["evaluations"][1]["loss"] = 1.0.into();
    place.write("changed.json", changed.to_string());
    let refused = place.refuse("compare --merge one changed.json --out never");
    assert!(refused.contains("both have mha with seed"), "{refused}");
    assert!(
        refused.contains("their validation losses differ"),
        "{refused}"
    );
    let refused = place.refuse("compare --merge one missing --out never");
    assert!(refused.contains("missing"), "{refused}");
    assert!(!place.path("never").exists());
}

#[test]
fn another_plan_and_a_second_process_are_refused_and_nothing_is_touched() {
    let place = place();
    let study = "compare --config study.toml --variants mha,sas --steps 4 --name s";
    let busy = held(place.command(study), "study.run#2");
    let refused = place.refuse(study);
    assert!(
        refused.contains("another run is in this folder (process "),
        "{refused}"
    );
    kill(busy);
    let before = contents(&place.path("runs/s"));
    for (more, named) in [
        ("--seeds 2", "seeds: [3] -> [3, 4]"),
        ("--set train.batch=3", "train.batch: 2 -> 3"),
        (
            "--set data.tales_train_bytes=9000",
            "data.tales_train_bytes: 20000 -> 9000",
        ),
        ("--equal flops", "equal: \"steps\" -> \"flops\""),
        ("--kernels reference", "kernels: \"fast\" -> \"reference\""),
        ("--match none", "sas: mlp_width: "),
        ("--only 1/2", "share: absent -> \"1/2\""),
        ("--tune-learning-rate 1e-3 2e-3", "rates.rates: absent"),
    ] {
        let refused = place.refuse(&format!("{study} {more}"));
        assert!(
            refused.contains("runs/s: holds another study: "),
            "{more}: {refused}"
        );
        assert!(refused.contains(named), "{more}: {refused}");
        assert_eq!(contents(&place.path("runs/s")), before, "{more}");
    }
    let refused = place.refuse(&study.replace("mha,sas", "mha,gqa"));
    assert!(
        refused.contains("variants: mha sas -> mha gqa"),
        "{refused}"
    );
    // What changes no result may change.
    place.succeed(&format!(
        "{study} --set train.log_every=2 --set train.checkpoint_every=3"
    ));
}

#[test]
fn a_study_without_a_name_says_how_to_continue_it() {
    let place = place();
    let study = "compare --config study.toml --variants mha --steps 60";
    let mut child = place.command(study);
    child.env("SIMATTN_FAULT", "hold@checkpoint.renamed#1");
    let mut child = child.spawn().expect("the binary runs");
    let mut said = Vec::new();
    assert!(read_until(&mut child, |line| {
        said.push(line.to_owned());
        line.starts_with("SIMATTN_FAULT")
    }));
    kill(child);
    let (_, command) = said[0]
        .split_once("continue with: simattn ")
        .expect("a command");
    assert!(command.starts_with(study), "{command}");
    let output = place.run(command);
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(
        errors.contains("[1/1] mha : continues after step 16"),
        "{errors}"
    );
    let runs = fs::read_dir(place.path("runs")).expect("a folder").count();
    assert_eq!(runs, 1);
}

#[test]
fn a_run_that_fails_is_kept_as_failed_and_not_repeated() {
    let place = Place::empty();
    let diverging = "steps = 20\nlearning_rate = 1e38\nclip = 0.0";
    place.write("study.toml", CONFIG.replace("steps = 80", diverging));
    let study = "compare --config study.toml --variants mha,sas --out s";
    for attempt in 0..2 {
        let output = place.run(study);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        let last = errors.lines().last().expect("a line");
        assert!(last.contains("2 of 2 runs failed"), "{last}");
        assert_eq!(errors.contains(" step 0: "), attempt == 0, "{errors}");
        assert!(
            text(&output.stdout).contains("failed"),
            "the table is shown"
        );
    }
}

#[test]
fn equal_time_gives_steps_by_the_measured_cost_of_one() {
    let place = place();
    let study = "compare --config study.toml --variants mha,sas --steps 20 --equal time \
        --measure-steps 2";
    // Killed when the costs are known and no run has begun.
    let child = held(place.command(&format!("{study} --out s")), "study.run#1");
    kill(child);
    let costs = fs::read(place.path("s/costs.json")).expect("costs");
    let output = place.run(&format!("{study} --out s"));
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("timing the steps"));
    assert_eq!(fs::read(place.path("s/costs.json")).expect("costs"), costs);
    let study_results = results(&place.path("s"));
    let variants = study_results["variants"].as_array().expect("variants");
    let [mha, sas] = &variants[..] else {
        panic!("two variants");
    };
    assert_eq!(mha["step_seconds"].as_array().map(Vec::len), Some(2));
    assert_eq!(mha["runs"][0]["steps"], 20);
    let median = |variant: &Value| {
        let rounds = variant["step_seconds"].as_array().expect("rounds");
        let rounds: Vec<f64> = rounds.iter().filter_map(Value::as_f64).collect();
        0.5 * (rounds[0] + rounds[1])
    };
    let fitting = (median(mha) * 20.0 / median(sas)) as u64;
    assert_eq!(sas["runs"][0]["steps"], fitting.max(1));

    let refused = place.refuse(&format!("{study} --only 2/2 --out two"));
    assert!(refused.contains("give its folder to --costs"), "{refused}");
    let shared = study.replace(" --measure-steps 2", " --costs s");
    place.succeed(&format!("{shared} --only 1/2 --out one"));
    place.succeed(&format!("{shared} --only 2/2 --out two"));
    place.succeed("compare --merge one two --out merged");
    assert_same(&results(&place.path("merged")), &study_results);
    let refused = place.refuse(&format!("{shared} --set train.batch=3 --out three"));
    assert!(
        refused.contains("--costs s: of another study: train.batch"),
        "{refused}"
    );
    assert!(!place.path("three").exists());
}

#[test]
fn a_run_of_a_study_is_the_one_that_train_makes() {
    let place = place();
    let same = "--steps 20 --device cpu --set train.precision=bfloat16";
    place.succeed(&format!(
        "train study.toml --peak-flops 1e11 {same} --out run"
    ));
    let compare = "compare --config study.toml --variants sas --match none";
    place.succeed(&format!("{compare} {same} --out s"));
    let log = fs::read_to_string(place.path("run/metrics.jsonl")).expect("the log");
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let losses = |field: &str| -> Vec<Value> {
        let lines = lines.clone();
        lines
            .filter_map(|line: Value| line.get(field).cloned())
            .collect()
    };
    let study = results(&place.path("s"));
    let run = &study["variants"][0]["runs"][0];
    let of_study = |curve: &str| -> Vec<Value> {
        let points = run[curve].as_array().expect("a curve").iter();
        points.map(|point| point["loss"].clone()).collect()
    };
    assert_eq!(of_study("train"), losses("loss"));
    assert_eq!(of_study("evaluations"), losses("validation_loss"));
    let text = fs::read_to_string(place.path("s/study.json")).expect("the plan");
    assert!(text.contains("\"device\": \"cpu\""), "{text}");
}

#[test]
fn what_no_study_can_do_is_refused_in_one_line() {
    let place = place();
    for (more, named) in [
        (
            "--variants mha,sas --only 3/3",
            "nothing is left for this share",
        ),
        ("--tune-learning-rate 1e-3 1e-3", "0.001 is given twice"),
        (
            "--tune-learning-rate 1e-5 1e-3 --set train.minimum_learning_rate=1e-4",
            "--tune-learning-rate 0.00001: train.minimum_learning_rate",
        ),
        ("--costs nowhere", "--costs nowhere: no study there"),
        ("--set seed=9223372036854775807", "too near the end"),
        ("--device vulkan:7", "--device vulkan"),
    ] {
        let output = place.run(&format!("compare --config study.toml --name s {more}"));
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{more}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{more}: {errors}");
        assert!(errors.contains(named), "{more}: {errors}");
        assert!(!place.path("runs").exists(), "{more} left something");
    }
    for usage in [
        "--only 0/2",
        "--only 2",
        "--tune-learning-rate 1e-3",
        "--tune-learning-rate 1e-3 -1",
        "--tune-steps 5",
        "--measure-steps 0",
        "--merge a",
        "--merge a b --seeds 2",
    ] {
        let output = place.run(&format!("compare {usage}"));
        assert_eq!(output.status.code(), Some(2), "{usage}");
    }
    assert!(!place.path("runs").exists());
}

#[cfg(unix)]
#[test]
fn a_signal_stops_a_study_which_then_continues() {
    let place = place();
    let study = "compare --config study.toml --variants mha,sas --steps 1200 --out s";
    place.succeed(&study.replace("--out s", "--out alone"));
    // After the evaluation before the first step, and some steps later.
    for lines in [1, 12] {
        let mut child = place.command(study).spawn().expect("the binary runs");
        let mut seen = 0;
        assert!(read_until(&mut child, |line| {
            seen += usize::from(line.contains(" step "));
            seen == lines
        }));
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", child.id())])
            .status();
        assert!(sent.expect("a shell").success());
        while read_until(&mut child, |_| true) {}
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0));
        let said = text(&output.stdout);
        assert!(said.starts_with("stopped     "), "{said}");
    }
    place.succeed(study);
    assert_same(&results(&place.path("s")), &results(&place.path("alone")));
}
