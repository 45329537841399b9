//! Gradients go out while backward still runs.

use std::fs;

use crate::job::{can_start, finish, place};

#[test]
fn the_first_bucket_is_sent_before_the_last_gradient_is_done() {
    if !can_start() {
        return;
    }
    let place = place();
    let mut job = place.ranks(2, "run", "--steps 1 --accumulation 8");
    job.env("SIMATTN_EVENTS", place.path("events"));
    finish(job);
    for rank in 0..2 {
        let events = fs::read_to_string(place.path(&format!("events.{rank}"))).expect("a log");
        let lines: Vec<&str> = events.lines().collect();
        let at = |wanted: &str| {
            let found = lines.iter().position(|line| *line == wanted);
            found.unwrap_or_else(|| panic!("no `{wanted}` in {events}"))
        };
        let last = at("gradient layers.0.attention.q.weight done");
        // When the thread of MPI then gets a processor is chance.
        assert!(at("bucket 0 given") < last, "{events}");
        assert!(at("bucket 0 given") < at("bucket 0 sent"), "{events}");
        assert!(last < at("gradient embedding done"), "{events}");
    }
    // One step's exchange is in the log.
    let log = fs::read_to_string(place.path("run/metrics.jsonl")).expect("the log");
    assert!(log.contains("\"exchange_seconds\":") && log.contains("\"waiting_seconds\":"));
}
