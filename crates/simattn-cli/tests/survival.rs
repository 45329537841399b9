//! Runs that are killed, damaged, stopped or robbed of their disk, and continue bit for bit.

mod common;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::{Dice, Place, kill, read_until};

const CONFIG: &str = r#"
seed = 5
[model]
context = 16
layers = 1
width = 16
attention = { kind = "sas", heads = 2, head_dim = 8, expanded_heads = 4, expanded_head_dim = 12, kernel_size = 3 }
[data]
tales_train_bytes = 20000
tales_validation_bytes = 4000
[train]
steps = 2400
batch = 2
evaluate_every = 7
evaluation_batches = 1
log_every = 1
checkpoint_every = 4
keep_checkpoints = 4
"#;

/// Every point at which a save can be caught.
const POINTS: [&str; 8] = [
    "checkpoint.begin",
    "checkpoint.model",
    "checkpoint.optimizer",
    "checkpoint.state",
    "checkpoint.sums",
    "checkpoint.rename",
    "checkpoint.renamed",
    "checkpoint.prune",
];

impl Place {
    fn new() -> Self {
        let place = Self::empty();
        place.write("run.toml", CONFIG);
        place
    }

    fn train(&self, out: &str, more: &str) -> Command {
        self.command(&format!(
            "train run.toml --peak-flops 1e11 --out {out} {more}"
        ))
    }

    fn weights(&self, out: &str) -> Vec<u8> {
        fs::read(self.path(out).join("model.safetensors")).expect("a finished model")
    }

    /// The log without what the clock and the machine put into it.
    fn log(&self, out: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(out).join("metrics.jsonl")).expect("the log");
        text.lines()
            .map(|line| match line.split_once(",\"seconds\"") {
                Some((numbers, _)) => numbers.to_owned(),
                None => line.to_owned(),
            })
            .collect()
    }
}

fn output(mut command: Command) -> Output {
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn finish(command: Command) -> String {
    let output = output(command);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    log
}

/// Kills a run again and again, lets it end, and compares it with one that was left alone.
fn survive(seed: u64, threads: &str) {
    let place = Place::new();
    let mut alone = place.train("alone", "");
    alone.env("RAYON_NUM_THREADS", "1");
    finish(alone);
    let mut dice = Dice(seed);
    let (mut kills, mut held) = (0, 0);
    for attempt in 0..32 {
        let mut command = place.train("killed", "");
        command.env("RAYON_NUM_THREADS", threads);
        let point = POINTS[attempt / 2 % POINTS.len()];
        let during_save = attempt % 2 == 0;
        if during_save {
            command.env("SIMATTN_FAULT", format!("hold@{point}#1"));
        }
        let mut child = command.spawn().expect("the binary runs");
        let mut left = 1 + dice.below(20);
        let alive = read_until(&mut child, |line| {
            left = left.saturating_sub(u64::from(line.contains(" step ")));
            if during_save {
                line.starts_with("SIMATTN_FAULT")
            } else {
                left == 0
            }
        });
        // A moment of its own between two lines.
        for turn in 0..dice.below(400_000) {
            std::hint::black_box(turn);
        }
        if !alive {
            let status = child.wait().expect("it ends");
            panic!("{threads} threads, attempt {attempt}: ended by itself, {status}");
        }
        kill(child);
        kills += 1;
        held += u32::from(during_save);
    }
    assert!(kills >= 25 && held >= 8);
    let mut last = place.train("killed", "");
    last.env("RAYON_NUM_THREADS", threads);
    let log = finish(last);
    assert!(log.contains("continues from"), "{log}");
    assert_eq!(place.log("killed"), place.log("alone"));
    assert!(place.weights("killed") == place.weights("alone"));
    println!("{kills} kills with {threads} threads, {held} of them while saving");
}

#[test]
fn thirty_two_kills_change_no_bit_with_one_thread() {
    survive(1, "1");
}

#[test]
fn thirty_two_kills_change_no_bit_with_two_threads() {
    survive(2, "2");
}

/// Sends a signal that a process may catch; false where it has ended.
fn send(child: &Child, signal: &str) -> bool {
    Command::new("sh")
        .args(["-c", &format!("kill -{signal} {}", child.id())])
        .status()
        .expect("a shell")
        .success()
}

#[test]
fn a_second_signal_ends_a_run_whose_save_hangs() {
    let place = Place::new();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut held = place.train("run", "");
        held.env("SIMATTN_FAULT", "hold@checkpoint.state#1");
        let mut held = held.spawn().expect("the binary runs");
        assert!(read_until(&mut held, |line| line.starts_with("SIMATTN_FAULT")));
        // The first one waits for the save, which never ends; sent until one has found it waiting.
        let status = loop {
            send(&held, signal);
            if let Some(status) = held.try_wait().expect("a child") {
                break status;
            }
        };
        assert_eq!(status.code(), Some(code));
    }
    finish(place.train("run", "--steps 3"));
}

/// The checkpoints of a run, oldest first.
fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(run)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path.file_name().expect("a name").to_string_lossy();
            name.starts_with("step-")
        })
        .collect();
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let place = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &place);
        } else {
            fs::copy(&path, &place).expect("a small file");
        }
    }
}

/// Cuts a file somewhere, or flips one of its bits.
fn damage(path: &Path, dice: &mut Dice) {
    let mut bytes = fs::read(path).expect("a file");
    if dice.below(2) == 0 {
        bytes.truncate(dice.below(bytes.len() as u64) as usize);
    } else {
        let bit = dice.below(8 * bytes.len() as u64) as usize;
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    fs::write(path, bytes).expect("a small file");
}

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_it_used() {
    let place = Place::new();
    finish(place.train("base", "--set train.steps=120"));
    let base = place.path("base");
    assert!(checkpoints(&base).len() >= 2);
    let mut dice = Dice(3);
    let files = [
        "model.safetensors",
        "optimizer.safetensors",
        "state.json",
        "config.toml",
        "tokenizer.json",
        "SHA256SUMS",
    ];
    for case in 0..24 {
        let name = format!("case-{case}");
        let run = place.path(&name);
        copy(&base, &run);
        let newest = checkpoints(&run).pop().expect("a checkpoint");
        damage(&newest.join(files[case % files.len()]), &mut dice);
        let log = finish(place.train(&name, "--set train.steps=120"));
        assert!(log.contains("set aside as"), "{case}: {log}");
        assert!(log.contains("step-0000120"), "{case}: {log}");
        assert!(place.weights(&name) == place.weights("base"), "{case}");
        assert_eq!(place.log(&name), place.log("base"), "{case}");
    }
    for checkpoint in checkpoints(&base) {
        damage(&checkpoint.join("state.json"), &mut dice);
    }
    let refused = output(place.train("base", "--set train.steps=120"));
    let log = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("checkpoints can be used"), "{log}");
    let listed = output(place.command("runs . --verify"));
    assert!(text(&listed.stdout).contains("damaged"));
    assert_eq!(listed.status.code(), Some(1));
    // The runs that were mended have the damaged checkpoint under another name.
    let mended = output(place.command("runs case-0 --verify"));
    assert_eq!(mended.status.code(), Some(0), "{}", text(&mended.stderr));
    let glance = output(place.command("runs ."));
    assert_eq!(glance.status.code(), Some(0));
}

#[test]
fn a_signal_saves_and_a_second_run_is_kept_out() {
    let place = Place::new();
    finish(place.train("alone", ""));
    let mut held = place.train("run", "");
    held.env("SIMATTN_FAULT", "hold@checkpoint.begin#1");
    let mut held = held.spawn().expect("the binary runs");
    assert!(read_until(&mut held, |line| line.starts_with("SIMATTN_FAULT")));
    let second = output(place.train("run", ""));
    let log = text(&second.stderr);
    assert_eq!(second.status.code(), Some(2), "{log}");
    assert!(
        log.contains("another run is in this folder (process "),
        "{log}"
    );
    let listed = output(place.command("runs ."));
    assert!(text(&listed.stdout).contains("running"));
    kill(held);

    for signal in ["INT", "TERM"] {
        let mut child = place.train("run", "").spawn().expect("the binary runs");
        let mut steps = 0;
        assert!(read_until(&mut child, |line| {
            steps += usize::from(line.contains(" step "));
            steps == 3
        }));
        assert!(send(&child, signal));
        let mut rest = String::new();
        let stderr = child.stderr.as_mut().expect("a pipe");
        stderr.read_to_string(&mut rest).expect("text");
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(0), "{rest}");
        assert!(text(&ended.stdout).contains("stopped"), "{signal}");
    }
    let listed = output(place.command("runs ."));
    assert!(text(&listed.stdout).contains("stopped"));
    fs::write(place.path("a.txt"), "A fox met a crow.").expect("a small file");
    finish(place.command("eval run --data a.txt"));
    let newest = checkpoints(&place.path("run")).pop().expect("a checkpoint");
    finish(place.command(&format!("eval {} --data a.txt", newest.display())));
    finish(place.train("run", ""));
    assert!(place.weights("run") == place.weights("alone"));
    assert_eq!(place.log("run"), place.log("alone"));
}

#[test]
fn a_full_disk_and_a_removed_folder_stop_no_training() {
    let place = Place::new();
    let short = "--set train.steps=60";
    finish(place.train("alone", short));
    let mut full = place.train("full", short);
    full.env(
        "SIMATTN_FAULT",
        "full@checkpoint.model#1,full@metrics.append#9",
    );
    let log = finish(full);
    assert!(log.contains("could not be saved"), "{log}");
    assert!(log.contains("training continues"), "{log}");
    assert!(log.contains("1 entries are missing"), "{log}");
    assert!(place.weights("full") == place.weights("alone"));

    let mut never = place.train("never", short);
    never.env("SIMATTN_FAULT", "full@checkpoint.state#1+");
    let never = output(never);
    let log = text(&never.stderr);
    assert_eq!(never.status.code(), Some(1), "{log}");
    assert!(log.contains("there is no checkpoint"), "{log}");
    assert!(checkpoints(&place.path("never")).is_empty());
    finish(place.train("never", short));
    assert!(place.weights("never") == place.weights("alone"));

    finish(place.train("long", ""));
    let more = "--set train.checkpoint_every=0";
    let mut robbed = place
        .train("robbed", more)
        .spawn()
        .expect("the binary runs");
    assert!(read_until(&mut robbed, |line| line.contains(" step 3/")));
    fs::remove_dir_all(place.path("robbed")).expect("a folder");
    let mut rest = String::new();
    let stderr = robbed.stderr.as_mut().expect("a pipe");
    stderr.read_to_string(&mut rest).expect("text");
    assert_eq!(robbed.wait().expect("it ends").code(), Some(0), "{rest}");
    assert!(rest.contains("it is created again"), "{rest}");
    assert!(place.weights("robbed") == place.weights("long"));

    fs::write(place.path("file"), "x").expect("a small file");
    let below = output(place.train("file/run", short));
    assert_eq!(below.status.code(), Some(2), "{}", text(&below.stderr));
}

#[test]
fn a_changed_configuration_is_shown_and_refused() {
    let place = Place::new();
    let short = "--set train.steps=12";
    finish(place.train("run", short));
    let changed = output(place.train("run", "--set train.steps=14 --set train.log_every=5"));
    let log = text(&changed.stderr);
    assert_eq!(changed.status.code(), Some(2), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("train.steps: 12 -> 14;"), "{log}");
    assert!(!log.contains("log_every"), "{log}");
    let other = output(place.train(
        "run",
        "--set train.steps=12 --set data.tales_train_bytes=9000",
    ));
    assert_eq!(other.status.code(), Some(2));
    let model = "--set train.steps=14 --set model.layers=2 --allow-config-change";
    let other = output(place.train("run", model));
    assert_eq!(other.status.code(), Some(2), "{}", text(&other.stderr));
    finish(place.train("run", "--set train.steps=14 --allow-config-change"));
    finish(place.train("fork", "--set train.steps=14 --resume run/step-0000014"));
    assert!(place.weights("fork") == place.weights("run"));
    let never = output(place.train("run", "--set train.steps=14 --resume never"));
    assert_eq!(never.status.code(), Some(2));
    let nearest = output(place.train("run", "--set train.stepz=14"));
    let log = text(&nearest.stderr);
    assert!(
        log.contains("unknown field `stepz` in [train], did you mean `steps`?"),
        "{log}"
    );
}

#[test]
fn muon_goes_on_bit_for_bit_on_any_number_of_threads() {
    let place = Place::new();
    let muon = "--set train.steps=80 --set train.optimizer=muon --set train.decay=wsd";
    let mut alone = place.train("alone", muon);
    alone.env("RAYON_NUM_THREADS", "1");
    finish(alone);
    let mut held = place.train("killed", muon);
    held.env("SIMATTN_FAULT", "hold@checkpoint.renamed#2");
    let mut held = held.spawn().expect("the binary runs");
    assert!(read_until(&mut held, |line| line.starts_with("SIMATTN_FAULT")));
    kill(held);
    assert!(finish(place.train("killed", muon)).contains("continues from"));
    assert!(place.weights("killed") == place.weights("alone"));
    finish(place.train("adamw", "--set train.steps=80 --set train.decay=wsd"));
    assert!(place.weights("adamw") != place.weights("alone"));
}

#[test]
fn recomputed_blocks_change_no_bit_and_may_be_switched_on_between_two_starts() {
    let place = Place::new();
    let steps = "--set train.steps=80";
    let block = "--set train.steps=80 --set train.recompute=block";
    finish(place.train("alone", steps));
    let mut held = place.train("killed", steps);
    held.env("SIMATTN_FAULT", "hold@checkpoint.renamed#2");
    let mut held = held.spawn().expect("the binary runs");
    assert!(read_until(&mut held, |line| line.starts_with("SIMATTN_FAULT")));
    kill(held);
    assert!(finish(place.train("killed", block)).contains("continues from"));
    assert!(place.weights("killed") == place.weights("alone"));
    let wrong = output(place.train("wrong", "--set train.recompute=all"));
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong.stderr));
}

#[test]
fn a_run_goes_on_when_nobody_listens() {
    let place = Place::new();
    let mut deaf = place
        .train("deaf", "--steps 12")
        .spawn()
        .expect("the binary runs");
    // As `train … | head` and a broken connection do: whatever is written from now on finds no
    // reader.
    drop((deaf.stdout.take(), deaf.stderr.take()));
    assert_eq!(deaf.wait().expect("it ends").code(), Some(0));
    finish(place.train("heard", "--steps 12"));
    assert_eq!(place.weights("deaf"), place.weights("heard"));

    let mut info = place
        .command("info --machine")
        .spawn()
        .expect("the binary runs");
    drop(info.stdout.take());
    let output = info.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), text(&output.stderr)),
        (Some(0), String::new())
    );
}

/// A result that cannot be written is a failure: the shell's redirection would hold half of it.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_standard_output_is_said() {
    let full = fs::File::create("/dev/full").expect("the device");
    let place = Place::new();
    let mut command = place.command("info --machine");
    command.stdout(full);
    let output = output(command);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.starts_with("simattn: standard output: ") && said.lines().count() == 1,
        "{said}"
    );
}

/// A closed terminal stops a run as SIGTERM does, unless `nohup` or its like asked that it go on.
#[cfg(target_os = "linux")]
#[test]
fn a_hangup_saves_a_run_and_nohup_keeps_it_going() {
    let place = Place::new();
    let after_three_steps = |child: &mut Child| {
        let mut steps = 0;
        assert!(read_until(child, |line| {
            steps += usize::from(line.contains(" step "));
            steps == 3
        }));
    };

    let nohup = r#"trap "" HUP; exec "$0" "$@""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", nohup, env!("CARGO_BIN_EXE_simattn")]);
    shell
        .current_dir(place.path(""))
        .args("train run.toml --peak-flops 1e11 --out kept --steps 60".split_whitespace())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut kept = shell.spawn().expect("a shell");
    after_three_steps(&mut kept);
    send(&kept, "HUP");
    let ended = kept.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0));
    assert!(text(&ended.stdout).contains("saved"));

    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = u64::from_str_radix(mask.expect("a mask").trim(), 16).expect("hexadecimal");
    if mask & 1 == 1 {
        println!("skipped: hangups are ignored here, and so in what is started from here");
        return;
    }
    let mut child = place.train("run", "").spawn().expect("the binary runs");
    after_three_steps(&mut child);
    // Twice, as a terminal and its shell do.
    assert!(send(&child, "HUP"));
    send(&child, "HUP");
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.code(), Some(0));
    assert!(text(&ended.stdout).contains("stopped"));
}
