//! What is refused before the first step.

use std::process::Output;

use crate::job::{can_start, errors, place, said};

/// The one line of a job that must be refused.
fn refusal(output: &Output, code: i32) -> String {
    let lines = errors(output);
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert_eq!(lines.len(), 1, "{}", said(output));
    lines[0].clone()
}

#[test]
fn a_build_without_mpi_says_so_to_a_launcher() {
    if cfg!(feature = "mpi") {
        eprintln!("skipped: this build has the feature mpi");
        return;
    }
    let place = place();
    for variable in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"] {
        let mut command = place.command(&place.line("run", ""));
        let output = command
            .env(variable, "2")
            .output()
            .expect("the binary runs");
        let line = refusal(&output, 2);
        assert!(line.contains("one of 2 processes"), "{line}");
        assert!(line.contains("--features mpi"), "{line}");
        assert!(!place.path("run").exists());
    }
    let mut one = place.command(&place.line("run", "--steps 1"));
    let output = one.env("OMPI_COMM_WORLD_SIZE", "1").output();
    assert!(output.expect("the binary runs").status.success());
}

#[test]
fn ranks_that_do_not_divide_and_unequal_ranks_are_refused_in_one_line() {
    if !can_start() {
        return;
    }
    let place = place();
    let run = |extra: &[(&str, &str)]| place.job("run", "", extra).output().expect("mpirun");
    let three = run(&[("", ""); 3]);
    let line = refusal(&three, 2);
    assert!(
        line.starts_with("simattn: 3 processes cannot share train.groups = 4"),
        "{line}"
    );
    let ways = [
        (
            "--learning-rate 0.5",
            "rank 1 has train.learning_rate = 0.5",
        ),
        ("--set seed=4", "rank 1 has seed = 4"),
        ("--steps 7", "rank 1 has train.steps = 7"),
        ("--set train.clip=-1", "rank 1: "),
        ("--tokenizer nowhere.json", "rank 1: "),
    ];
    for (other, expected) in ways {
        let line = refusal(&run(&[("", ""), ("", other)]), 2);
        assert!(line.starts_with(&format!("simattn: {expected}")), "{line}");
        assert!(!place.path("run").exists(), "{other}");
    }
    // What is wrong for all is said once, and is nobody's in particular.
    let line = refusal(&run(&[("", "--steps 0"); 2]), 2);
    assert!(line.starts_with("simattn: train.steps"), "{line}");
}

#[test]
fn other_data_and_damaged_data_on_one_rank_are_refused() {
    if !can_start() {
        return;
    }
    let place = place();
    // Each rank in a folder of its own, as on hosts of their own.
    for (folder, story) in [("a", "one"), ("b", "one"), ("c", "two")] {
        std::fs::create_dir(place.path(folder)).expect("a folder");
        std::fs::create_dir(place.path(&format!("{folder}/text"))).expect("a folder");
        for number in 0..20 {
            let text = format!("The {story} story {number} went on and on. ").repeat(20);
            place.write(&format!("{folder}/text/{number}.txt"), text);
        }
        place.succeed(&format!(
            "prepare {folder}/text --out {folder}/data --tokenizer bytes --validation-fraction 0.4"
        ));
    }
    let config = std::fs::read_to_string(place.path("run.toml")).expect("a file");
    let tales = "tales_train_bytes = 20000\ntales_validation_bytes = 4000";
    let config = config.replace(tales, "source = \"data\"");
    for folder in ["a", "b", "c"] {
        place.write(&format!("{folder}/run.toml"), &config);
    }
    let run = |other: &str| {
        let other = format!("env -C {}", place.path(other).display());
        let own = format!("env -C {}", place.path("a").display());
        place
            .job("run", "", &[(&own, ""), (&other, "")])
            .output()
            .expect("mpirun")
    };
    let line = refusal(&run("c"), 2);
    assert!(
        line.starts_with("simattn: rank 1 has data with the fingerprint"),
        "{line}"
    );
    let shards = std::fs::read_dir(place.path("b/data")).expect("a folder");
    let shard = shards
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|ending| ending == "bin"))
        .expect("a shard");
    let mut bytes = std::fs::read(&shard).expect("a shard");
    *bytes.last_mut().expect("tokens") ^= 1;
    std::fs::write(&shard, bytes).expect("a small file");
    let line = refusal(&run("b"), 2);
    assert!(line.starts_with("simattn: rank 1: "), "{line}");
    assert!(!place.path("a/run").exists());
}
