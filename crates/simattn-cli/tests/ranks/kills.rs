//! Ranks that are killed at any moment.

use std::fs;
use std::process::{Child, Command};

use crate::common::{Dice, read_until};
use crate::job::{can_start, finish, place};

/// The processes that a launcher has started, with their ranks.
fn ranks_of(launcher: &Child) -> Vec<(usize, u32)> {
    let mut found = Vec::new();
    let mut left = vec![launcher.id()];
    while let Some(parent) = left.pop() {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        for child in children.unwrap_or_default().split_whitespace() {
            let child: u32 = child.parse().expect("a number");
            let environment = fs::read(format!("/proc/{child}/environ")).unwrap_or_default();
            let text = String::from_utf8_lossy(&environment).into_owned();
            let rank = text.split('\0').find_map(|entry| {
                let names = ["OMPI_COMM_WORLD_RANK=", "PMI_RANK="];
                names.into_iter().find_map(|name| entry.strip_prefix(name))
            });
            if let Some(rank) = rank {
                found.push((rank.parse().expect("a rank"), child));
            }
            left.push(child);
        }
    }
    found.sort_unstable();
    found
}

/// Whether a process runs.
fn runs(process: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = state
        .rsplit_once(") ")
        .map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}

#[test]
fn twenty_kills_of_any_rank_change_no_byte_and_leave_no_process() {
    if !can_start() {
        return;
    }
    let place = place();
    let more = "--steps 1200 --set train.checkpoint_every=3 --set train.keep_checkpoints=2 \
                --set train.evaluate_every=50";
    place.alone("alone", more);
    let mut dice = Dice(7);
    for attempt in 0..20 {
        let saving = attempt % 2 == 0;
        let hold = "env SIMATTN_FAULT=hold@checkpoint.state#1";
        let first = if saving { hold } else { "" };
        let mut job = place.job("killed", more, &[(first, ""), ("", "")]);
        let mut job = job.spawn().expect("mpirun is there");
        let mut left = 1 + dice.below(12);
        let alive = read_until(&mut job, |line| {
            left = left.saturating_sub(u64::from(line.contains(" step ")));
            match saving {
                true => line.starts_with("SIMATTN_FAULT"),
                false => left == 0,
            }
        });
        assert!(alive, "attempt {attempt}: it ended by itself");
        let ranks = ranks_of(&job);
        assert_eq!(ranks.len(), 2, "{ranks:?}");
        let (rank, process) = ranks[dice.below(2) as usize];
        let kill = format!("kill -KILL {process}");
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .expect("a shell")
                .success()
        );
        let end = job.wait_with_output().expect("it ends");
        assert!(!end.status.success(), "attempt {attempt}: rank {rank}");
        // A process that was killed may take a moment to go.
        let gone = |process: u32| {
            (0..1_000_000).any(|_| {
                std::thread::yield_now();
                !runs(process)
            })
        };
        let left = ranks.iter().find(|(_, process)| !gone(*process));
        assert_eq!(left, None, "attempt {attempt}: it runs on");
    }
    finish(place.ranks(4, "killed", more));
    assert!(place.result("killed") == place.result("alone"));
}
