//! Faults of one rank: one line that names it, the usual exit code, and an end for all.

use std::io::BufRead;
use std::process::{Child, Command, Output};

use crate::job::{can_start, errors, finish, place, said};

fn output(mut job: Command) -> Output {
    job.output().expect("mpirun is there")
}

/// The one line of a job that failed.
fn failure(output: &Output, code: i32) -> String {
    let lines = errors(output);
    assert_eq!(output.status.code(), Some(code), "{}", said(output));
    assert_eq!(lines.len(), 1, "{}", said(output));
    lines[0].clone()
}

#[test]
fn a_panic_of_any_rank_ends_the_job() {
    if !can_start() {
        return;
    }
    let place = place();
    for rank in 0..2 {
        let mut extra = [("", ""); 2];
        extra[rank].0 = "env SIMATTN_FAULT=panic@rank.step#3";
        let line = failure(&output(place.job("run", "", &extra)), 101);
        let expected = format!("simattn: rank {rank}: asked to at rank.step");
        assert!(line.starts_with(&expected), "{line}");
    }
    finish(place.ranks(2, "run", ""));
}

#[test]
fn a_loss_that_is_no_number_on_one_rank_is_said_there_alone() {
    if !can_start() {
        return;
    }
    let place = place();
    for rank in [0, 3] {
        let mut extra = [("", ""); 4];
        extra[rank].0 = "env SIMATTN_FAULT=wrong@rank.loss#3";
        let out = format!("run-{rank}");
        let line = failure(&output(place.job(&out, "", &extra)), 1);
        let expected = format!("simattn: rank {rank}: step 3: the loss is NaN");
        assert!(line.starts_with(&expected), "{line}");
    }
    // Where all see it, one says it.
    let all = place.ranks(4, "blown-up", "--learning-rate 1e30 --set train.clip=0");
    let line = failure(&output(all), 1);
    assert!(line.starts_with("simattn: rank 0: step 2: "), "{line}");
}

#[test]
fn a_full_disk_ends_a_job_as_it_ends_a_process() {
    if !can_start() {
        return;
    }
    let place = place();
    let full = "env SIMATTN_FAULT=full@checkpoint.state";
    let line = failure(&output(place.job("run", "", &[(full, ""), ("", "")])), 1);
    assert!(
        line.starts_with("simattn: rank 0: step 6 could not be saved"),
        "{line}"
    );
}

#[test]
fn a_rank_that_hangs_is_named_when_the_deadline_is_over() {
    if !can_start() {
        return;
    }
    let place = place();
    for rank in 0..2 {
        let mut extra = [("", ""); 2];
        extra[rank].0 = "env SIMATTN_FAULT=hold@rank.step#3";
        let out = format!("run-{rank}");
        let line = failure(&output(place.job(&out, "--deadline 2", &extra)), 1);
        let other = 1 - rank;
        let expected = format!("simattn: rank {other}: rank {rank} did not answer for 2 s (");
        assert!(line.starts_with(&expected), "{line}");
    }
}

/// Reads what a job says until a line is `enough`.
fn wait_for(job: &mut Child, enough: impl Fn(&str) -> bool) {
    let lines = std::io::BufReader::new(job.stderr.as_mut().expect("a pipe"));
    let found = lines
        .lines()
        .map(|line| line.expect("text"))
        .any(|line| enough(&line));
    assert!(found, "the job ended first");
}

#[test]
fn a_signal_to_the_launcher_saves_and_stops_all_ranks_at_one_step() {
    if !can_start() {
        return;
    }
    let place = place();
    place.alone("alone", "");
    let long = "--steps 100000 --set train.decay=constant --set train.warmup_steps=1 \
                --set train.evaluate_every=0 --set train.checkpoint_every=0";
    let mut job = place
        .ranks(2, "run", long)
        .spawn()
        .expect("mpirun is there");
    wait_for(&mut job, |line| line.contains(" step 3/"));
    let signal = format!("kill -USR1 {}", job.id());
    assert!(
        Command::new("sh")
            .args(["-c", &signal])
            .status()
            .expect("a shell")
            .success()
    );
    let end = job.wait_with_output().expect("it ends");
    assert_eq!(end.status.code(), Some(0), "{}", said(&end));
    let said = String::from_utf8_lossy(&end.stdout).into_owned();
    assert!(said.starts_with("stopped     after step "), "{said}");
    // It continues, on one process.
    let step = said
        .split_whitespace()
        .nth(3)
        .expect("a step")
        .replace([',', '.'], "");
    let next = step.parse::<u64>().expect("a step") + 1;
    let more = long.replace("100000", &next.to_string());
    place.succeed(&place.line("run", &format!("{more} --allow-config-change")));
}
