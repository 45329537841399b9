//! Makes the page of results anew from the results of studies:
//! `cargo run --release -p simattn-cli --example results_page -- docs/results` writes
//! `docs/results.md` and the pictures in `docs/results/`.

use std::error::Error;
use std::path::PathBuf;

use simattn_cli::study::collection;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1);
    let folder = PathBuf::from(folder.ok_or("name the folder of results, such as docs/results")?);
    for file in collection::files(&folder)? {
        std::fs::write(&file.path, &file.contents)
            .map_err(|error| format!("{}: cannot be written: {error}", file.path.display()))?;
        println!("{}", file.path.display());
    }
    Ok(())
}
