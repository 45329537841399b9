//! Real folders and files, as three readers take them: `prepare`, training and evaluation.

use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use simattn_data::prepare::{Job, OnBadInput, PrepareError, PrepareObserver, prepare};
use simattn_data::shards::{Index, TokenShards};
use simattn_data::{
    Corpus, DataError, Loader, PassedOver, Texts, TokenSet, Tokenizer, ValidationSample,
    read_documents,
};
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

static BYTES: LazyLock<Tokenizer> = LazyLock::new(Tokenizer::bytes);

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }
}

fn job<'a>(inputs: &'a [PathBuf], validation: &'a [PathBuf], out: &'a Path) -> Job<'a> {
    Job {
        inputs,
        validation,
        tokenizer: &BYTES,
        out,
        field: "text",
        validation_fraction: 0.0,
        seed: 7,
        shard_tokens: 200,
        on_bad_input: OnBadInput::Fail,
    }
}

/// What was said, and where to break off.
#[derive(Default)]
struct Heard {
    held_out: Vec<String>,
    passed_over: Vec<PassedOver>,
    notes: Vec<String>,
    bad: Vec<String>,
    stop_at_shards: bool,
}

impl PrepareObserver for Heard {
    fn on_shard(&mut self, _: &str, _: u64) -> ControlFlow<()> {
        if self.stop_at_shards {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
    fn on_bad_input(&mut self, place: &str, problem: &str) {
        self.bad.push(format!("{place}: {problem}"));
    }
    fn on_passed_over(&mut self, what: &PassedOver) {
        self.passed_over.push(what.clone());
    }
    fn on_held_out(&mut self, place: &str) {
        self.held_out.push(place.to_owned());
    }
    fn on_note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }
}

/// The documents of both parts, each in order.
fn parts(folder: &Path) -> [Vec<String>; 2] {
    let index = Index::read(folder).unwrap();
    [&index.train, &index.validation].map(|part| {
        let set = TokenShards::of_part(folder, &index, part).unwrap();
        set.read_documents(index.tokenizer.end_of_text)
            .map(|ids| BYTES.decode(&ids.unwrap()).unwrap())
            .collect()
    })
}

/// What `prepare` makes of one input, all of it to train on.
fn prepared(input: &Path) -> Result<Vec<String>, PrepareError> {
    let out = tempfile::tempdir().unwrap();
    let [train, validation] = {
        prepare(&job(&[input.to_owned()], &[], out.path()), &mut ())?;
        parts(out.path())
    };
    assert!(validation.is_empty());
    Ok(train)
}

/// What evaluation makes of it.
fn evaluated(input: &Path) -> Result<Vec<String>, DataError> {
    let Texts { documents, .. } = read_documents(input, "text")?;
    Ok(documents
        .into_iter()
        .map(|document| document.text)
        .collect())
}

/// What training makes of it, both parts together, sorted.
fn trained(input: &Path) -> Result<Vec<String>, DataError> {
    let corpus = Corpus::from_path(input, 0.4, 1)?;
    let documents = corpus.train.into_iter().chain(corpus.validation);
    Ok(sorted(documents.map(|document| document.text).collect()))
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

fn json_lines(texts: &[&str]) -> String {
    let line = |text: &&str| serde_json::json!({ "id": 1, "text": text }).to_string() + "\n";
    texts.iter().map(line).collect()
}

fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes.as_ref()).unwrap();
    packed.finish().unwrap()
}

fn zstandard(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    compress_to_vec(bytes.as_ref(), CompressionLevel::Fastest)
}

/// A frame of Zstandard with one stored block, whose header asks for a window of 2 to the `log`, as
/// `--long=log` writes it where the length is not known beforehand.
fn wide_frame(log: u8, text: &str) -> Vec<u8> {
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
    bytes.extend_from_slice(&((text.len() as u32) << 3 | 1).to_le_bytes()[..3]);
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn one_line(error: impl std::fmt::Display) -> String {
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line:?}");
    line
}

#[test]
fn held_out_file_under_another_spelling_is_not_trained_on() {
    let place = Place::new();
    for name in ["b1", "b2", "b3"] {
        place.write(&format!("books/{name}.txt"), format!("the text of {name}"));
    }
    fs::hard_link(place.at("books/b2.txt"), place.at("hard.txt")).unwrap();
    let mut spellings = vec!["books/../books/b2.txt", "books/./b2.txt", "books//b2.txt"];
    spellings.extend(["books/../books/*2.txt", "hard.txt"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("books", place.at("alias")).unwrap();
        symlink("books/b2.txt", place.at("link.txt")).unwrap();
        fs::create_dir(place.at("held")).unwrap();
        symlink("../books/b2.txt", place.at("held/x.txt")).unwrap();
        spellings.extend(["alias/b2.txt", "link.txt", "held", "held/*"]);
    }
    for (round, spelling) in spellings.into_iter().enumerate() {
        for input in ["books", "books/*.txt"] {
            let out = place.at(&format!("out-{round}"));
            let (inputs, validation) = ([place.at(input)], [place.at(spelling)]);
            prepare(&job(&inputs, &validation, &out), &mut ()).unwrap();
            let [train, validation] = parts(&out);
            assert_eq!(train, ["the text of b1", "the text of b3"], "{spelling}");
            assert_eq!(validation, ["the text of b2"], "{spelling}");
            fs::remove_dir_all(out).unwrap();
        }
    }
}

#[test]
fn a_file_of_two_names_is_read_once() {
    let place = Place::new();
    let a = place.write("f/a.txt", "one text");
    fs::hard_link(&a, place.at("f/b.txt")).unwrap();
    place.write("f/c.txt", "another text");
    let inputs = [
        place.at("f"),
        place.at("f/../f/a.txt"),
        place.at("f/./*.txt"),
    ];
    let out = place.at("out");
    let prepared = prepare(&job(&inputs, &[], &out), &mut ()).unwrap();
    assert_eq!(prepared.files, 2);
    assert_eq!(parts(&out)[0], ["one text", "another text"]);
    assert_eq!(evaluated(&inputs[0]).unwrap().len(), 2);
    assert_eq!(trained(&inputs[0]).unwrap().len(), 2);
}

#[test]
fn held_out_document_under_another_name_is_left_out_of_training() {
    let place = Place::new();
    let long = "a line of a long book\n".repeat(60_000);
    assert!(long.len() > 1 << 20);
    place.write("held/short.txt", "a held-out text\nof two lines\n");
    place.write("held/long.txt", &long);
    place.write("held/lines.jsonl", json_lines(&["first", "second"]));
    let filler: Vec<String> = (0..60)
        .map(|n| format!("a document to train on, {n}"))
        .collect();
    let filler: Vec<&str> = filler.iter().map(String::as_str).collect();
    place.write("all/a-copy.md", "a held-out text\nof two lines\n");
    place.write("all/b-crlf.txt", "a held-out text\r\nof two lines");
    place.write(
        "all/c.jsonl",
        json_lines(&filler[..30]) + &json_lines(&["second", "third"]),
    );
    place.write(
        "all/d-marked.txt",
        "first\n<|endoftext|>\nfourth\n<|endoftext|>\n",
    );
    place.write(
        "all/e.json.gz",
        gzip(json_lines(&["a held-out text\nof two lines", "fifth"])),
    );
    place.write("all/f.txt.zst", zstandard(&long));
    place.write(
        "all/g.jsonl",
        json_lines(&filler[30..]) + &json_lines(&[&long]),
    );
    let (inputs, validation) = ([place.at("all")], [place.at("held")]);
    let out = place.at("out");
    let mut heard = Heard::default();
    let straight = prepare(&job(&inputs, &validation, &out), &mut heard).unwrap();
    let [train, held_out] = parts(&out);
    let mut expected: Vec<String> = filler[..30].iter().map(ToString::to_string).collect();
    expected.extend(["third", "fourth\n", "fifth"].map(str::to_owned));
    expected.extend(filler[30..].iter().map(ToString::to_string));
    assert_eq!(train, expected);
    assert_eq!(held_out.len(), 4);
    let said: Vec<&str> = heard
        .held_out
        .iter()
        .map(|said| said.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(
        said,
        [
            "a-copy.md",
            "b-crlf.txt",
            "c.jsonl:31",
            "d-marked.txt:2",
            "e.json.gz:1",
            "f.txt.zst",
            "g.jsonl:31"
        ]
    );
    assert_eq!(straight.held_out_again, 7);

    // Interruptions leave no trace.
    let broken = place.at("broken");
    let mut stopping = Heard {
        stop_at_shards: true,
        ..Heard::default()
    };
    let mut rounds = 0;
    let last = loop {
        match prepare(&job(&inputs, &validation, &broken), &mut stopping) {
            Ok(last) => break last,
            Err(PrepareError::Stopped) => rounds += 1,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(rounds > 5, "{rounds}");
    assert_eq!(last.held_out_again, 7);
    assert_eq!(last.index, straight.index);
}

#[test]
fn a_folder_begun_before_documents_were_compared_is_gone_on_with() {
    let place = Place::new();
    let texts: Vec<String> = (0..40)
        .map(|n| format!("a document to train on, {n}"))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    place.write("in/a.jsonl", json_lines(&texts));
    let inputs = [place.at("in")];
    let held_out = json_lines(&["a document to hold out: 7"]);
    let validation = [place.write("b.jsonl", &held_out)];
    let (straight, out) = (place.at("straight"), place.at("out"));
    let whole = prepare(&job(&inputs, &validation, &straight), &mut ()).unwrap();
    let mut stopping = Heard {
        stop_at_shards: true,
        ..Heard::default()
    };
    let stopped = prepare(&job(&inputs, &validation, &out), &mut stopping);
    assert!(matches!(stopped, Err(PrepareError::Stopped)));
    // As the version before wrote it.
    let path = out.join("prepare.json");
    let mut journal: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    journal["format"] = 1.into();
    for (object, field) in [
        ("", "sha256"),
        ("", "held_out_again"),
        ("/identity", "compares_documents"),
        ("/train/growing", "sha256"),
    ] {
        if let Some(object) = journal.pointer_mut(object).unwrap().as_object_mut() {
            object.remove(field).unwrap();
        }
    }
    fs::write(&path, journal.to_string()).unwrap();
    // What it did not look for: a held-out document that it trained on.
    let again = json_lines(&["a document to train on, 0"]);
    assert_eq!(again.len(), held_out.len());
    fs::write(&validation[0], again).unwrap();
    let error = prepare(&job(&inputs, &validation, &out), &mut ()).unwrap_err();
    assert!(
        error.is_input() && one_line(&error).contains("a.jsonl:1 is held out under another name"),
        "{error}"
    );
    fs::write(&validation[0], held_out).unwrap();
    // What it did not read.
    place.write("in/more.json", json_lines(&["more"]));
    let mut heard = Heard::default();
    let last = prepare(&job(&inputs, &validation, &out), &mut heard).unwrap();
    assert_eq!(last.index, whole.index);
    assert_eq!(heard.notes.len(), 1, "{:?}", heard.notes);
    assert!(heard.notes[0].contains("more.json: not among the files"));
}

#[test]
fn training_leaves_out_what_it_holds_out_in_another_layout() {
    let place = Place::new();
    for n in 0..12 {
        place.write(&format!("f/{n:02}.txt"), format!("a line\nof text {n}"));
        place.write(
            &format!("f/{n:02}-crlf.txt"),
            format!("a line\r\nof text {n}\r\n"),
        );
    }
    let corpus = Corpus::from_path(place.at("f"), 0.3, 3).unwrap();
    let plain = |text: &str| text.replace('\r', "");
    for held_out in &corpus.validation {
        let again =
            |document: &simattn_data::Document| plain(&document.text) == plain(&held_out.text);
        assert!(!corpus.train.iter().any(again), "{}", held_out.name);
    }
    assert_eq!(
        corpus.train.len() + corpus.validation.len() + corpus.notes.len(),
        24
    );
    assert!(
        corpus.notes[0].contains("left out of training"),
        "{:?}",
        corpus.notes
    );
}

#[test]
fn json_lines_are_json_lines_under_any_name() {
    let place = Place::new();
    let texts = ["one\n", " two ", "three"];
    let lines = json_lines(&texts);
    for name in [
        "a.jsonl",
        "a.ndjson",
        "a.json",
        "A.JSON",
        "c4-train.00000-of-01024.json",
    ] {
        for (ending, bytes) in [
            ("", lines.clone().into_bytes()),
            (".gz", gzip(&lines)),
            (".zst", zstandard(&lines)),
            (".gzip", gzip("\n\n".to_owned() + &lines)),
        ] {
            let path = place.write(&format!("{name}{ending}"), bytes);
            assert_eq!(prepared(&path).unwrap(), texts, "{path:?}");
            assert_eq!(evaluated(&path).unwrap(), texts, "{path:?}");
            assert_eq!(
                trained(&path).unwrap(),
                sorted(texts.map(str::to_owned).into()),
                "{path:?}"
            );
        }
    }
    let text = "one text\n\nof two paragraphs\n";
    for (name, bytes) in [
        ("t.txt", text.as_bytes().to_vec()),
        ("t.txt.gz", gzip(text)),
        ("t.md.zst", zstandard(text)),
        ("no-ending", [b"\xef\xbb\xbf", text.as_bytes()].concat()),
    ] {
        let path = place.write(name, bytes);
        assert_eq!(prepared(&path).unwrap(), [text], "{name}");
        assert_eq!(evaluated(&path).unwrap(), [text], "{name}");
    }
    let marked = "one\n<|endoftext|>\ntwo\n";
    for (name, bytes) in [
        ("m.txt", marked.as_bytes().to_vec()),
        ("m.txt.gz", gzip(marked)),
        ("m.txt.zst", wide_frame(31, marked)),
    ] {
        let path = place.write(name, bytes);
        assert_eq!(evaluated(&path).unwrap(), ["one\n", "two\n"], "{name}");
        assert_eq!(trained(&path).unwrap(), ["one", "two"], "{name}");
    }
}

#[test]
fn json_that_is_no_json_lines_is_refused_and_in_a_folder_named() {
    let place = Place::new();
    let cases = [
        (
            "list.json",
            "[\n{\"text\": \"a\"},\n{\"text\": \"b\"}\n]\n",
            "a JSON list",
        ),
        ("flat.json", "[{\"text\": \"a\"}]", "a JSON list"),
        (
            "pretty.json",
            "{\n  \"text\": \"a\"\n}\n",
            "over several lines",
        ),
        (
            "tokenizer.json",
            "{\"version\":\"1.0\",\"model\":{\"text\":NaN}}",
            "single JSON object",
        ),
        ("word.json", "\"text\"\n", "no JSON object"),
        (
            "comma.json",
            "{\"text\": \"a\"},\n{\"text\": \"b\"}\n",
            "over several lines",
        ),
    ];
    place.write("folder/a.txt", "one text");
    place.write("folder/b.txt", "another text");
    let mut named = 0;
    for (name, contents, said) in cases {
        for (ending, bytes) in [("", contents.as_bytes().to_vec()), (".gz", gzip(contents))] {
            let path = place.write(&format!("folder/{name}{ending}"), &bytes);
            for line in [
                one_line(prepared(&path).unwrap_err()),
                one_line(evaluated(&path).unwrap_err()),
                one_line(trained(&path).unwrap_err()),
            ] {
                assert!(line.contains(said) && line.contains(name), "{line}");
            }
            named += 1;
        }
    }
    place.write("folder/c.txt.xz", "packed");
    let inputs = [place.at("folder")];
    let mut heard = Heard::default();
    prepare(&job(&inputs, &[], &place.at("out")), &mut heard).unwrap();
    assert_eq!(heard.passed_over.len(), named + 1);
    assert_eq!(parts(&place.at("out"))[0], ["one text", "another text"]);
    let texts = read_documents(&inputs[0], "text").unwrap();
    assert_eq!(texts.documents.len(), 2);
    assert_eq!(texts.passed_over, heard.passed_over);
    let corpus = Corpus::from_path(&inputs[0], 0.5, 1).unwrap();
    assert_eq!(corpus.notes.len(), named + 1);
    // A file of many lines is what its first line says, and a bad one later is named.
    let path = place.write("bad.json", "{\"text\": \"a\"}\nnot json\n");
    assert!(one_line(evaluated(&path).unwrap_err()).contains("bad.json:2: "));
}

#[test]
fn a_file_to_evaluate_is_one_document_of_its_exact_bytes() {
    let place = Place::new();
    let paragraph = "A paragraph of some words.\r\nAnd a line.\n\n\n".repeat(10);
    let text = format!("\n{}", paragraph.repeat(40));
    let path = place.write("folder/book.txt", &text);
    let exactly = [text.as_str()];
    assert_eq!(evaluated(&path).unwrap(), exactly);
    assert_eq!(evaluated(&place.at("folder")).unwrap(), exactly);
    assert_eq!(prepared(&path).unwrap(), exactly);
    let marked = place.write("marked.txt", "one\n<|endoftext|>\n\ntwo\u{c}\n");
    assert_eq!(evaluated(&marked).unwrap(), ["one\n", "\ntwo\u{c}\n"]);
    assert_eq!(prepared(&marked).unwrap(), ["one\n", "\ntwo\u{c}\n"]);
}

#[test]
fn healthy_packed_files_do_not_vanish_as_bad_lines() {
    let place = Place::new();
    let lines = json_lines(&["one", "two"]);
    for (name, bytes) in [
        ("wide.jsonl.zst", wide_frame(31, &lines)),
        (
            "wide.json.zst",
            [wide_frame(28, ""), wide_frame(31, &lines)].concat(),
        ),
        ("tape.jsonl.gz", [gzip(&lines), vec![0; 10_240]].concat()),
        (
            "members.json.gz",
            [gzip(&lines[..9]), vec![0; 512], gzip(&lines[9..])].concat(),
        ),
    ] {
        let path = place.write(name, bytes);
        assert_eq!(prepared(&path).unwrap(), ["one", "two"], "{name}");
        assert_eq!(evaluated(&path).unwrap(), ["one", "two"], "{name}");
    }
    // What cannot be read is refused by name, even where bad lines are to be left out.
    for (name, bytes, said) in [
        (
            "wider.jsonl.zst",
            wide_frame(32, &lines),
            "window of 4096 MiB",
        ),
        (
            "plain.jsonl.gz",
            lines.clone().into_bytes(),
            "not packed by gzip",
        ),
        (
            "plain.txt.zst",
            lines.clone().into_bytes(),
            "not packed by zstd",
        ),
        ("packed.jsonl", gzip(&lines), "name it .gz"),
        ("packed.txt", zstandard(&lines), "name it .zst"),
    ] {
        let inputs = [place.write(name, bytes), place.write("good.txt", "good")];
        let out = place.at("out");
        let skipping = Job {
            on_bad_input: OnBadInput::Skip,
            ..job(&inputs, &[], &out)
        };
        let error = prepare(&skipping, &mut ()).unwrap_err();
        assert!(error.is_input(), "{error}");
        assert!(one_line(&error).contains(said), "{error}");
        assert!(!out.exists());
        assert!(one_line(evaluated(&inputs[0]).unwrap_err()).contains(said));
    }
    // Damage is still damage.
    for (name, bytes) in [
        ("cut.jsonl.zst", {
            let whole = wide_frame(31, &lines);
            whole[..whole.len() - 1].to_vec()
        }),
        ("tail.jsonl.gz", [gzip(&lines), b"tail".to_vec()].concat()),
        ("nothing.jsonl.gz", Vec::new()),
        ("nothing.jsonl.zst", Vec::new()),
    ] {
        let error = prepared(&place.write(name, bytes)).unwrap_err();
        assert!(
            matches!(error, PrepareError::BadInput { .. }),
            "{name}: {error}"
        );
        assert!(one_line(&error).contains("damaged"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn linked_folders_are_read_and_dead_links_named_everywhere() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.write("folder/b.txt", "of the folder");
    place.write("elsewhere/a.txt", "behind a link");
    symlink("../elsewhere", place.at("folder/a-link")).unwrap();
    symlink("../folder", place.at("elsewhere/circle")).unwrap();
    symlink("gone.txt", place.at("folder/dead.txt")).unwrap();
    symlink("self.txt", place.at("folder/self.txt")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.at("folder/socket")).unwrap();
    let inputs = [place.at("folder")];
    let expected = ["of the folder", "behind a link"];
    let mut heard = Heard::default();
    prepare(&job(&inputs, &[], &place.at("out")), &mut heard).unwrap();
    assert_eq!(parts(&place.at("out"))[0], expected);
    assert_eq!(evaluated(&inputs[0]).unwrap(), expected);
    assert_eq!(
        trained(&inputs[0]).unwrap(),
        sorted(expected.map(str::to_owned).into())
    );
    let named: Vec<String> = heard.passed_over.iter().map(one_line).collect();
    assert_eq!(named.len(), 3, "{named:?}");
    for (line, said) in named
        .iter()
        .zip(["a link to gone.txt", "a link to self.txt", "a socket"])
    {
        assert!(line.contains(said), "{line}");
    }
    let texts = read_documents(&inputs[0], "text").unwrap();
    assert_eq!(texts.passed_over, heard.passed_over);
    assert_eq!(Corpus::from_path(&inputs[0], 0.5, 1).unwrap().notes, named);
    // Whoever names one meant it.
    let dead = place.at("folder/dead.txt");
    for line in [
        one_line(prepared(&dead).unwrap_err()),
        one_line(evaluated(&dead).unwrap_err()),
        one_line(trained(&dead).unwrap_err()),
    ] {
        assert!(line.contains("dead.txt: a link to gone.txt"), "{line}");
    }
}

#[test]
fn the_folder_that_is_written_is_no_input() {
    let place = Place::new();
    let texts: Vec<String> = (0..40)
        .map(|n| format!("a document to train on, {n}"))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    place.write("in/a.jsonl", json_lines(&texts));
    let (inputs, out) = ([place.at("in")], place.at("in/shards"));
    let mut stopping = Heard {
        stop_at_shards: true,
        ..Heard::default()
    };
    while let Err(error) = prepare(&job(&inputs, &[], &out), &mut stopping) {
        assert!(matches!(error, PrepareError::Stopped), "{error}");
    }
    assert_eq!(parts(&out)[0], texts);
    assert_eq!(stopping.passed_over, []);
}

#[cfg(unix)]
#[test]
fn what_is_no_regular_file_is_refused_by_name() {
    let place = Place::new();
    let socket = place.at("socket.txt");
    let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (path, said) in [
        (Path::new("/dev/zero"), "a device"),
        (Path::new("/dev/null"), "a device"),
        (&socket, "a socket"),
        (Path::new("-"), "standard input is not read"),
    ] {
        let error = prepared(path).unwrap_err();
        assert!(
            error.is_input() && one_line(&error).contains(said),
            "{error}"
        );
        assert!(one_line(evaluated(path).unwrap_err()).contains(said));
        assert!(one_line(trained(path).unwrap_err()).contains(said));
    }
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf_8_do_not_end_a_pattern_in_a_panic() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    place.write("dir/a.txt", "one");
    let name = std::ffi::OsStr::from_bytes(b"dir/b\xff.txt");
    fs::write(place.0.path().join(name), "two").unwrap();
    let other = std::ffi::OsStr::from_bytes(b"d\xffr");
    fs::create_dir(place.0.path().join(other)).unwrap();
    fs::write(place.0.path().join(other).join("c.txt"), "three").unwrap();
    for (pattern, expected) in [
        (place.at("dir/*.txt"), &["one", "two"][..]),
        (place.at("dir/*"), &["one", "two"]),
        (place.at("*/*.txt"), &["one", "two", "three"]),
        (place.at("**/*.txt"), &["one", "two", "three"]),
        (place.0.path().join(other).join("*"), &["three"]),
    ] {
        assert_eq!(prepared(&pattern).unwrap(), expected, "{pattern:?}");
    }
}

#[test]
fn a_part_shorter_than_a_window_is_named() {
    let five = TokenSet {
        ids: vec![1; 5],
        bytes: 5,
        documents: 1,
    };
    let held_out = one_line(ValidationSample::new(&five, 2, 8, 4).unwrap_err());
    assert!(
        held_out.contains("the validation part has 5 tokens"),
        "{held_out}"
    );
    assert!(held_out.contains("needs 9; hold out more"), "{held_out}");
    let train = one_line(Loader::new(Arc::new(five), 2, 8, 1).unwrap_err());
    assert!(train.contains("the training part has 5 tokens"), "{train}");
}

#[test]
fn a_text_that_the_tokenizer_cannot_encode_is_bad_input() {
    let place = Place::new();
    let json = serde_json::json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 1, "content": "<|endoftext|>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true
        }],
        "normalizer": null,
        "pre_tokenizer": { "type": "Whitespace" },
        "post_processor": null,
        "decoder": null,
        "model": { "type": "WordLevel", "vocab": { "known": 0 }, "unk_token": "none" }
    });
    let tokenizer = Tokenizer::from_json(json.to_string().as_bytes(), "a test's").unwrap();
    for (name, contents, at) in [
        ("a.jsonl", json_lines(&["known", "unknown"]), "a.jsonl:2: "),
        ("a.txt", "unknown".to_owned(), "a.txt: "),
    ] {
        let inputs = [place.write(name, contents)];
        let out = place.at("out");
        let job = Job {
            tokenizer: &tokenizer,
            ..job(&inputs, &[], &out)
        };
        let error = prepare(&job, &mut ()).unwrap_err();
        assert!(error.is_input(), "{error}");
        assert!(one_line(&error).contains(at), "{error}");
        assert!(!out.exists());
    }
}
