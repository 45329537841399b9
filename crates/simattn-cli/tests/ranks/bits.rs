//! The same bytes, whoever computes them.

use std::fs;

use crate::job::{QUICK, can_start, finish, place, quick_place};

const MHA: &str = r#"--set model.attention={kind="mha",heads=4,head_dim=32}"#;

/// One cell of the matrix: what is trained, and how.
#[derive(Clone, Copy, Debug)]
struct Cell {
    sas: bool,
    muon: bool,
    accumulation: usize,
    recompute: bool,
    shard: bool,
    threads: usize,
    ranks: usize,
}

/// Every pair of values of two columns is in a row.
const CELLS: [Cell; 9] = [
    cell(false, false, 4, false, false, 1, 2),
    cell(true, true, 8, true, true, 2, 2),
    cell(true, false, 4, true, true, 1, 4),
    cell(false, true, 8, false, true, 1, 4),
    cell(true, true, 4, false, false, 2, 4),
    cell(false, false, 8, true, false, 2, 4),
    cell(false, true, 4, true, false, 1, 1),
    cell(true, false, 8, false, true, 2, 1),
    cell(false, false, 4, false, true, 2, 2),
];

const fn cell(
    sas: bool,
    muon: bool,
    accumulation: usize,
    recompute: bool,
    shard: bool,
    threads: usize,
    ranks: usize,
) -> Cell {
    Cell {
        sas,
        muon,
        accumulation,
        recompute,
        shard,
        threads,
        ranks,
    }
}

impl Cell {
    fn values(&self) -> [usize; 7] {
        [
            usize::from(self.sas),
            usize::from(self.muon),
            self.accumulation,
            usize::from(self.recompute),
            usize::from(self.shard),
            self.threads,
            self.ranks,
        ]
    }

    /// What decides the numbers; the preset itself is SAS.
    fn what(&self) -> String {
        let mut words = format!("{QUICK} --accumulation {}", self.accumulation);
        if !self.sas {
            words.push_str(&format!(" {MHA}"));
        }
        if self.muon {
            words.push_str(" --set train.optimizer=muon");
        }
        words
    }

    /// What must not.
    fn how(&self) -> String {
        let mut words = String::new();
        if self.recompute {
            words.push_str(" --set train.recompute=block");
        }
        if self.shard {
            words.push_str(" --set train.shard_optimizer=true");
        }
        words
    }
}

#[test]
fn the_cells_cover_every_pair_of_values() {
    let rows = CELLS.map(|cell| cell.values());
    for a in 0..7 {
        for b in 0..a {
            let mut all: Vec<[usize; 2]> = Vec::new();
            for x in rows {
                all.extend(rows.map(|y| [x[a], y[b]]));
            }
            let missing = all
                .iter()
                .find(|pair| !rows.iter().any(|row| [row[a], row[b]] == **pair));
            assert_eq!(missing, None, "columns {a} and {b}");
        }
    }
}

#[test]
fn ranks_threads_recomputation_and_shards_change_no_byte() {
    if !can_start() {
        return;
    }
    let place = quick_place();
    for (index, cell) in CELLS.iter().enumerate() {
        let (alone, shared) = (format!("alone-{index}"), format!("shared-{index}"));
        place.alone(&alone, &cell.what());
        let mut job = place.ranks(cell.ranks, &shared, &(cell.what() + &cell.how()));
        job.env("RAYON_NUM_THREADS", cell.threads.to_string());
        finish(job);
        assert!(place.result(&alone) == place.result(&shared), "{cell:?}");
        // What the optimiser remembers is in one file, whoever remembered it.
        let moments = |out: &str| {
            let file = place.path(out).join("step-0000003/optimizer.safetensors");
            fs::read(file).expect("a checkpoint")
        };
        assert!(moments(&alone) == moments(&shared), "{cell:?}");
        // A passed cell keeps no room on the disk.
        for out in [alone, shared] {
            fs::remove_dir_all(place.path(&out)).expect("ours");
        }
    }
}

#[test]
fn a_checkpoint_continues_on_any_number_of_ranks() {
    if !can_start() {
        return;
    }
    let place = place();
    for (index, more) in [
        "",
        "--set train.optimizer=muon --set train.shard_optimizer=true",
    ]
    .into_iter()
    .enumerate()
    {
        let four = format!("four-{index}");
        finish(place.ranks(4, &four, more));
        let (model, log) = place.result(&four);
        let since = |step: u64, log: &[String]| -> Vec<String> {
            let number = |line: &String| -> u64 {
                let digits = line.trim_start_matches("{\"step\":");
                digits
                    .split(',')
                    .next()
                    .expect("a number")
                    .parse()
                    .expect("a step")
            };
            log.iter()
                .filter(|line| number(line) > step)
                .cloned()
                .collect()
        };
        for (ranks, step) in [(1, 2), (2, 2), (1, 4), (4, 4)] {
            let out = format!("from-{index}-{ranks}-{step}");
            let from = format!("{more} --resume {four}/step-{step:07}");
            match ranks {
                1 => place.alone(&out, &from),
                _ => drop(finish(place.ranks(ranks, &out, &from))),
            }
            let (continued, rest) = place.result(&out);
            assert!(continued == model, "{ranks} ranks from step {step}");
            assert_eq!(since(step, &rest), since(step, &log));
        }
        // And back: of one process, continued by four.
        let alone = format!("alone-{index}");
        place.alone(&alone, more);
        let back = format!("back-{index}");
        let from = format!("{more} --resume {alone}/step-0000002");
        finish(place.ranks(4, &back, &from));
        assert!(place.result(&back).0 == model);
    }
}
