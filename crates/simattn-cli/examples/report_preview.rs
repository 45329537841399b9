//! Writes the report of a made-up study, to look at:
//! `cargo run --example report_preview -- report.html [SEEDS]`. The terminal table and the verdict
//! are printed.

use std::error::Error;

use simattn_cli::machine;
use simattn_cli::study::table::Table;
use simattn_cli::study::{report, results, verdict};

#[path = "../src/study/synthetic.rs"]
#[allow(dead_code)]
mod synthetic;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments
        .next()
        .ok_or("name the file to write, such as report.html")?;
    let seeds = arguments.next().map_or(Ok(3), |seeds| seeds.parse())?;
    let study = synthetic::study(seeds);
    print!("{}", Table::new(&study).to_text());
    verdict::verdict(&study)
        .iter()
        .for_each(|sentence| println!("{sentence}"));
    std::fs::write(&path, report::html(&study))
        .map_err(|error| format!("cannot write {path}: {error}"))?;
    Ok(())
}
