//! A job: several processes of one command.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::Place;

/// A small run with groups. Its model has more numbers than one bucket holds.
pub const CONFIG: &str = r#"
seed = 3
[model]
context = 16
layers = 2
width = 48
attention = { kind = "mha", heads = 4, head_dim = 12 }
[data]
tales_train_bytes = 20000
tales_validation_bytes = 4000
[train]
steps = 6
batch = 2
accumulation = 4
groups = 4
evaluate_every = 2
evaluation_batches = 3
log_every = 1
checkpoint_every = 2
keep_checkpoints = 9
"#;

/// The quick preset with groups, cut short.
pub const QUICK: &str = "--tokenizer bytes --steps 3 --set train.batch=2 --set train.groups=4 \
    --set train.evaluation_batches=3 --set train.log_every=1 --set train.checkpoint_every=3 \
    --set data.tales_train_bytes=100000 --set data.tales_validation_bytes=20000";

/// How processes are started together.
fn launcher() -> Vec<String> {
    let open_mpi = "mpirun --allow-run-as-root --oversubscribe --bind-to none";
    let asked = std::env::var("SIMATTN_MPIRUN").unwrap_or_else(|_| open_mpi.to_owned());
    asked.split_whitespace().map(str::to_owned).collect()
}

/// Whether jobs can be started; says so where not.
pub fn can_start() -> bool {
    let built = cfg!(feature = "mpi");
    let answers = || {
        let mut command = Command::new(&launcher()[0]);
        command
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let can = built && answers();
    if !can {
        eprintln!("skipped: needs the feature mpi and an mpirun");
    }
    can
}

/// A folder with [`CONFIG`] in it.
pub fn place() -> Place {
    let place = Place::empty();
    place.write("run.toml", CONFIG);
    place
}

/// A folder with the quick preset in it; to be used with [`QUICK`].
pub fn quick_place() -> Place {
    let preset = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/quick.toml");
    let place = Place::empty();
    place.write("run.toml", fs::read_to_string(preset).expect("a preset"));
    place
}

impl Place {
    /// The command line that trains into `out`.
    pub fn line(&self, out: &str, more: &str) -> String {
        // A test that hangs would otherwise hang for as long as a job may.
        let deadline = match more.contains("--deadline") {
            true => "",
            false => "--deadline 60",
        };
        format!("train run.toml --peak-flops 1e11 {deadline} --out {out} {more}")
    }

    /// The run on one process that nobody launched.
    pub fn alone(&self, out: &str, more: &str) {
        self.succeed(&self.line(out, more));
    }

    /// One process for each of `extra`: words that stand before the binary, such as
    /// `env SIMATTN_FAULT=…`, and words at the end of its command line.
    pub fn job(&self, out: &str, more: &str, extra: &[(&str, &str)]) -> Command {
        let binary = env!("CARGO_BIN_EXE_simattn");
        let launcher = launcher();
        let mut command = Command::new(&launcher[0]);
        command.args(&launcher[1..]);
        let line = self.line(out, more);
        for (index, (before, after)) in extra.iter().enumerate() {
            if index > 0 {
                command.arg(":");
            }
            command.args(["-n", "1"]).args(before.split_whitespace());
            command.arg(binary).args(line.split_whitespace());
            command.args(after.split_whitespace());
        }
        command
            .current_dir(self.path(""))
            .env("RAYON_NUM_THREADS", "1")
            .env_remove("SIMATTN_FAULT")
            // Where ptrace is barred, as in containers, Open MPI would warn.
            .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// `ranks` equal processes.
    pub fn ranks(&self, ranks: usize, out: &str, more: &str) -> Command {
        self.job(out, more, &vec![("", ""); ranks])
    }

    /// What came out of a run: the bytes of its model and what its log says, without what the clock
    /// puts into it.
    pub fn result(&self, out: &str) -> (Vec<u8>, Vec<String>) {
        let path = self.path(out);
        let model = fs::read(path.join("model.safetensors")).expect("a finished model");
        (model, log(&path))
    }
}

fn log(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("the log");
    let numbers = |line: &str| match line.split_once(",\"seconds\"") {
        Some((numbers, _)) => numbers.to_owned(),
        None => line.to_owned(),
    };
    text.lines().map(numbers).collect()
}

/// Runs a job that must end well.
pub fn finish(mut job: Command) -> String {
    let output = job.output().expect("mpirun is there");
    let said = said(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

/// What a job wrote to standard error.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Our own lines of what a job wrote: the launcher adds some.
pub fn errors(output: &Output) -> Vec<String> {
    let said = said(output);
    let ours = said.lines().filter(|line| line.starts_with("simattn: "));
    ours.map(str::to_owned).collect()
}
