//! Prepared text decodes to what it was, and is the same however often the work is broken off.

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use simattn_data::prepare::{Job, OnBadInput, PrepareError, PrepareObserver, Prepared, prepare};
use simattn_data::shards::{Index, TokenShards};
use simattn_data::{Corpus, Tokenizer};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

static BPE: LazyLock<Tokenizer> = LazyLock::new(|| {
    let corpus = Corpus::tales(1, 60_000, 1_000).unwrap();
    Tokenizer::train_bpe(&corpus.train, 400).unwrap()
});

/// What a test does not say.
fn job<'a>(inputs: &'a [PathBuf], out: &'a Path) -> Job<'a> {
    Job {
        inputs,
        validation: &[],
        tokenizer: &BPE,
        out,
        field: "text",
        validation_fraction: 0.2,
        seed: 7,
        shard_tokens: 500,
        on_bad_input: OnBadInput::Fail,
    }
}

/// The documents of both parts, each in order.
fn documents(folder: &Path) -> [Vec<String>; 2] {
    let index = Index::read(folder).unwrap();
    [&index.train, &index.validation].map(|part| {
        let set = TokenShards::of_part(folder, &index, part).unwrap();
        set.verify().unwrap();
        let texts: Vec<String> = set
            .read_documents(index.tokenizer.end_of_text)
            .map(|ids| BPE.decode(&ids.unwrap()).unwrap())
            .collect();
        assert_eq!(texts.len() as u64, part.documents);
        assert_eq!(
            texts.iter().map(|text| text.len() as u64).sum::<u64>(),
            part.bytes
        );
        texts
    })
}

/// Both parts together, in any order.
fn all(folder: &Path) -> Vec<String> {
    let mut texts = documents(folder).concat();
    texts.sort();
    texts
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// Every file of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

fn json_lines(texts: &[impl AsRef<str>]) -> String {
    texts
        .iter()
        .map(|text| serde_json::json!({"id": 1, "text": text.as_ref()}).to_string() + "\n")
        .collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

fn tales(count: usize) -> Vec<String> {
    let corpus = Corpus::tales(9, 400 * count as u64, 1_000).unwrap();
    corpus
        .train
        .into_iter()
        .map(|story| story.text)
        .take(count)
        .collect()
}

/// Breaks off after so many shards.
struct BreakAfter(usize);

impl PrepareObserver for BreakAfter {
    fn on_shard(&mut self, _: &str, _: u64) -> ControlFlow<()> {
        match self.0 {
            0 => ControlFlow::Break(()),
            _ => {
                self.0 -= 1;
                ControlFlow::Continue(())
            }
        }
    }
}

/// What was reported.
#[derive(Default)]
struct Heard(Vec<String>);

impl PrepareObserver for Heard {
    fn on_bad_input(&mut self, place: &str, problem: &str) {
        self.0.push(format!("{place}: {problem}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_documents_come_back(texts in proptest::collection::vec(any::<String>(), 0..30), shard_tokens in 1_u64..200) {
        let place = tempfile::tempdir().unwrap();
        let input = [place.path().join("in.jsonl")];
        fs::write(&input[0], json_lines(&texts)).unwrap();
        let out = place.path().join("out");
        let expected: Vec<String> = texts.into_iter().filter(|text| !text.trim().is_empty()).collect();
        let result = prepare(&Job { shard_tokens, ..job(&input, &out) }, &mut ());
        if expected.is_empty() {
            let refused = matches!(result, Err(PrepareError::NoDocuments { .. }));
            prop_assert!(refused);
            prop_assert!(!out.exists());
            return Ok(());
        }
        result.unwrap();
        let [train, validation] = documents(&out);
        // Each part keeps the order, and together they are everything.
        let mut parts = [train.iter().peekable(), validation.iter().peekable()];
        for text in &expected {
            let next = parts.iter_mut().position(|part| part.peek() == Some(&text));
            prop_assert!(next.is_some(), "{:?} is missing or out of order", text);
            parts[next.unwrap()].next();
        }
        prop_assert!(parts.iter_mut().all(|part| part.next().is_none()));
    }
}

#[test]
fn interruptions_and_threads_leave_no_trace() {
    let place = tempfile::tempdir().unwrap();
    let stories = tales(60);
    let inputs = ["a.jsonl.zst", "b.txt", "c.jsonl"].map(|name| place.path().join(name));
    fs::write(&inputs[0], zstandard(json_lines(&stories[..20]).as_bytes())).unwrap();
    fs::write(&inputs[1], stories[20..40].join("\n<|endoftext|>\n")).unwrap();
    fs::write(&inputs[2], json_lines(&stories[40..])).unwrap();
    let straight = place.path().join("straight");
    let prepared = prepare(&job(&inputs, &straight), &mut ()).unwrap();
    let shards = prepared.index.train.shards.len() + prepared.index.validation.shards.len();
    assert!(shards > 10, "{shards}");
    assert!(prepared.index.validation.documents > 3);
    let expected = files(&straight);

    for threads in [1, 3] {
        let out = place.path().join(format!("threads-{threads}"));
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| prepare(&job(&inputs, &out), &mut ()))
            .unwrap();
        assert!(files(&out) == expected, "{threads} threads");
    }
    // Broken off at every shard, with what a killed process may leave behind.
    let out = place.path().join("broken");
    let mut before: Option<PathBuf> = None;
    let mut rounds = 0;
    loop {
        rounds += 1;
        match prepare(&job(&inputs, &out), &mut BreakAfter(0)) {
            Ok(last) => {
                assert!(last.resumed_tokens > 0);
                break;
            }
            Err(PrepareError::Stopped) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(
            Index::read(&out)
                .unwrap_err()
                .to_string()
                .contains("only partly prepared")
        );
        // Shards that were renamed, or have grown, after the journal was written.
        if let Some(earlier) = &before {
            fs::copy(earlier, out.join("prepare.json")).unwrap();
            let again = prepare(&job(&inputs, &out), &mut BreakAfter(0));
            assert!(matches!(again, Err(PrepareError::Stopped)), "{again:?}");
        }
        let copy = place.path().join(format!("journal-{rounds}"));
        fs::copy(out.join("prepare.json"), &copy).unwrap();
        before = Some(copy);
        for name in ["train", "validation"] {
            for entry in fs::read_dir(&out)
                .unwrap()
                .map(|entry| entry.unwrap().path())
            {
                let file = entry.file_name().unwrap().to_str().unwrap();
                if file.starts_with(name) && file.ends_with(".partial") {
                    fs::OpenOptions::new()
                        .append(true)
                        .open(&entry)
                        .unwrap()
                        .write_all(b"torn")
                        .unwrap();
                }
            }
        }
    }
    assert!(rounds > 10, "{rounds}");
    assert!(files(&out) == expected);
    // Everything done but the journal removed.
    fs::copy(before.unwrap(), out.join("prepare.json")).unwrap();
    let last = prepare(&job(&inputs, &out), &mut ()).unwrap();
    assert_eq!(last.index, prepared.index);
    assert!(files(&out) == expected);
}

#[test]
fn every_form_of_input_gives_the_same_documents() {
    let place = tempfile::tempdir().unwrap();
    let stories = tales(12);
    let lines = json_lines(&stories);
    let half = lines.len() / 2;
    // Several members or frames, and one that is to be skipped.
    let frames = [
        &zstandard(&lines.as_bytes()[..half])[..],
        &[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3],
        &zstandard(&lines.as_bytes()[half..]),
    ]
    .concat();
    let members = [
        gzip(&lines.as_bytes()[..half]),
        gzip(&lines.as_bytes()[half..]),
    ]
    .concat();
    let marked = stories
        .join("<|endoftext|>\n")
        .replace("<|endoftext|>", "\n<|endoftext|>");
    for (name, contents) in [
        ("a.jsonl", lines.clone().into_bytes()),
        ("a.ndjson", lines.replace('\n', "\r\n\n").into_bytes()),
        ("a.jsonl.gz", members),
        ("a.JSONL.ZST", frames),
        ("b.txt.gz", gzip(marked.as_bytes())),
        ("b.txt", [b"\xef\xbb\xbf", marked.as_bytes()].concat()),
    ] {
        let input = [place.path().join(name)];
        fs::write(&input[0], contents).unwrap();
        let out = place.path().join(format!("out-{name}"));
        prepare(&job(&input, &out), &mut ()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let marks = stories.iter().map(|text| {
            // The line end before a mark belongs to the document; the last one has none.
            if name.starts_with('b') && text != stories.last().unwrap() {
                format!("{text}\n")
            } else {
                text.clone()
            }
        });
        assert_eq!(all(&out), sorted(marks.collect()), "{name}");
    }
    // A folder: a file a document, hidden and binary files passed over; the same through a pattern.
    let folder = place.path().join("folder");
    fs::create_dir_all(folder.join("sub")).unwrap();
    for (index, story) in stories.iter().enumerate() {
        let name = if index % 2 == 0 {
            format!("{index}.txt")
        } else {
            format!("sub/{index}.md")
        };
        fs::write(folder.join(name), story).unwrap();
    }
    for name in [".hidden.txt", "image.png", "info.json", "empty.txt"] {
        fs::write(
            folder.join(name),
            if name == "empty.txt" { "" } else { "\u{0}" },
        )
        .unwrap();
    }
    for inputs in [
        vec![folder.clone()],
        vec![
            folder.join("sub"),
            folder.join("*.txt"),
            folder.join("0.txt"),
        ],
    ] {
        let out = place.path().join(format!("folder-{}", inputs.len()));
        let prepared = prepare(&job(&inputs, &out), &mut ()).unwrap();
        assert_eq!(prepared.files, stories.len() + 1);
        assert_eq!(all(&out), sorted(stories.clone()));
    }
}

#[test]
fn documents_longer_than_a_piece_come_back_whole() {
    let place = tempfile::tempdir().unwrap();
    let lines = tales(40).join("\n");
    let long = lines.repeat(1 + 3_000_000 / lines.len());
    let no_break = "éa".repeat(1_200_000);
    let exact = "x".repeat(1 << 20);
    let mut expected = vec![long, no_break, exact];
    let inputs: Vec<PathBuf> = (0..3)
        .map(|n| place.path().join(format!("{n}.txt")))
        .collect();
    for (path, text) in inputs.iter().zip(&expected) {
        fs::write(path, text).unwrap();
    }
    let last = place.path().join("all.jsonl");
    fs::write(&last, json_lines(&expected)).unwrap();
    expected.extend(expected.clone());
    let inputs = [inputs, vec![last]].concat();
    let out = place.path().join("out");
    // The bytes tokenizer keeps the test short.
    let tokenizer = Tokenizer::bytes();
    let wanted = Job {
        tokenizer: &tokenizer,
        ..job(&inputs, &out)
    };
    prepare(&wanted, &mut ()).unwrap();
    let index = Index::read(&out).unwrap();
    let mut found = Vec::new();
    for part in [&index.train, &index.validation] {
        let set = TokenShards::of_part(&out, &index, part).unwrap();
        let texts = set
            .read_documents(256)
            .map(|ids| tokenizer.decode(&ids.unwrap()).unwrap());
        found.extend(texts);
    }
    assert!(sorted(found) == sorted(expected));
}

#[test]
fn bad_lines_are_named_and_counted() {
    let place = tempfile::tempdir().unwrap();
    let good = "{\"text\":\"good line\"}\n";
    let packed = gzip(good.repeat(20).as_bytes());
    let cases: [(&str, Vec<u8>, &str, u64, usize); 6] = [
        (
            "a.jsonl",
            format!("{good}\n{{\"text\":3}}\n{good}").into_bytes(),
            "a.jsonl:3: ",
            1,
            2,
        ),
        (
            "b.jsonl",
            format!("{good}{{\"txt\":\"\"}}\nnot json\n{good}").into_bytes(),
            "b.jsonl:2: no field \"text\"",
            2,
            2,
        ),
        (
            "c.jsonl",
            [good.as_bytes(), b"{\"text\":\"\xff\"}\n"].concat(),
            "c.jsonl:2: ",
            1,
            1,
        ),
        (
            "d.txt",
            b"one\ntwo \xc3(\nthree\n<|endoftext|>\nnext\xc3".to_vec(),
            "d.txt:2: not UTF-8 at byte 5",
            2,
            1,
        ),
        (
            "e.jsonl.gz",
            packed[..packed.len() - 9].to_vec(),
            "e.jsonl.gz:",
            1,
            1,
        ),
        (
            "f.jsonl.zst",
            [zstandard(good.as_bytes()), b"rubbish".to_vec()].concat(),
            "f.jsonl.zst:2: the packed file is damaged",
            1,
            1,
        ),
    ];
    for (name, contents, said, bad, least) in cases {
        let input = [place.path().join(name)];
        fs::write(&input[0], contents).unwrap();
        let out = place.path().join(format!("{name}-out"));
        let error = prepare(&job(&input, &out), &mut ()).unwrap_err();
        assert!(
            error.is_input() && matches!(error, PrepareError::BadInput { .. }),
            "{error}"
        );
        let line = error.to_string();
        assert!(
            line.contains(said) && line.contains("--on-bad-input skip"),
            "{line}"
        );
        assert!(!line.contains('\n'), "{line}");
        assert!(!out.exists(), "{name} left something behind");
        let mut heard = Heard::default();
        let skipping = Job {
            on_bad_input: OnBadInput::Skip,
            ..job(&input, &out)
        };
        let prepared: Prepared = prepare(&skipping, &mut heard).unwrap();
        assert_eq!(prepared.index.bad_inputs, bad, "{name}: {:?}", heard.0);
        assert_eq!(heard.0.len() as u64, bad);
        assert!(heard.0[0].contains(said), "{:?}", heard.0);
        let texts = all(&out);
        assert!(texts.len() >= least, "{name}: {texts:?}");
        if name == "d.txt" {
            assert_eq!(texts, ["one\nthree\n"]);
        }
    }
}

#[test]
fn what_cannot_be_prepared_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    fs::write(at("a.txt"), "some text").unwrap();
    fs::write(at("b.txt"), "other text").unwrap();
    fs::write(at("x.json"), "{}").unwrap();
    fs::write(at("x.png"), "p").unwrap();
    fs::write(at("x.parquet"), "p").unwrap();
    fs::create_dir(at("empty")).unwrap();
    let out = at("out");
    for (input, said) in [
        ("missing.txt", "no such file or folder"),
        ("*.none", "no text, JSON lines or Parquet file there"),
        ("[", "Pattern syntax error"),
        ("empty", "no text, JSON lines or Parquet file there"),
        ("x.json", "a single JSON object without a text in \"text\""),
        ("x.png", "not a supported kind of file"),
        (
            "x.parquet",
            if cfg!(feature = "parquet") {
                "not a Parquet file"
            } else {
                "--features parquet"
            },
        ),
    ] {
        let error = prepare(&job(&[at(input)], &out), &mut ()).unwrap_err();
        assert!(error.is_input(), "{error}");
        assert!(error.to_string().contains(said), "{error}");
        assert!(!out.exists(), "{input}");
    }
    let input = [at("a.txt")];
    for wrong in [
        Job {
            validation_fraction: 0.6,
            ..job(&input, &out)
        },
        Job {
            validation_fraction: f64::NAN,
            ..job(&input, &out)
        },
        Job {
            shard_tokens: 0,
            ..job(&input, &out)
        },
    ] {
        assert!(matches!(
            prepare(&wrong, &mut ()),
            Err(PrepareError::OutOfRange { .. })
        ));
    }
    // Not ours, a file, finished.
    let taken = |folder: &Path| prepare(&job(&input, folder), &mut ()).unwrap_err();
    assert!(matches!(taken(place.path()), PrepareError::Taken { .. }));
    assert!(matches!(taken(&at("a.txt")), PrepareError::Taken { .. }));
    prepare(&job(&input, &at("empty")), &mut ()).unwrap();
    assert!(matches!(taken(&at("empty")), PrepareError::Finished { .. }));

    // Begun by another job.
    fs::write(at("many.jsonl"), json_lines(&tales(20))).unwrap();
    let inputs = [at("many.jsonl"), at("a.txt")];
    let begun = prepare(&job(&inputs, &out), &mut BreakAfter(1)).unwrap_err();
    assert!(matches!(begun, PrepareError::Stopped));
    let bytes = Tokenizer::bytes();
    for (other, said) in [
        (
            Job {
                seed: 8,
                ..job(&inputs, &out)
            },
            "begun with the seed 7, not 8",
        ),
        (
            Job {
                field: "body",
                ..job(&inputs, &out)
            },
            "the field text, not body",
        ),
        (
            Job {
                shard_tokens: 501,
                ..job(&inputs, &out)
            },
            "500, not 501",
        ),
        (
            Job {
                validation_fraction: 0.1,
                ..job(&inputs, &out)
            },
            "0.2, not 0.1",
        ),
        (
            Job {
                validation: &inputs[1..],
                ..job(&inputs[..1], &out)
            },
            "inputs for validation, in number 0, not 1",
        ),
        (
            Job {
                tokenizer: &bytes,
                ..job(&inputs, &out)
            },
            "the tokenizer",
        ),
        (
            Job {
                inputs: &inputs[..1],
                ..job(&inputs, &out)
            },
            "in number 2, not 1",
        ),
        (
            Job {
                inputs: &[at("many.jsonl"), at("b.txt")],
                ..job(&inputs, &out)
            },
            "a.txt (9 bytes), not",
        ),
    ] {
        let line = prepare(&other, &mut ()).unwrap_err().to_string();
        assert!(line.contains(said), "{line}");
    }
    // Held by someone; then free again.
    let lock = fs::File::open(out.join("prepare.lock")).unwrap();
    lock.lock().unwrap();
    assert!(matches!(taken(&out), PrepareError::Held { .. }));
    drop(lock);
    fs::write(out.join("prepare.json"), "{").unwrap();
    assert!(matches!(taken(&out), PrepareError::Journal { .. }));
}

#[cfg(feature = "parquet")]
mod parquet_files {
    use super::*;
    use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::sync::Arc;

    /// Groups of rows; every seventh text is missing when `holes`.
    fn write(path: &Path, texts: &[String], holes: bool) {
        let schema = "message m { required int64 id; optional binary text (UTF8); }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let settings = WriterProperties::builder()
            .set_compression(parquet::basic::Compression::SNAPPY)
            .build();
        let file = fs::File::create(path).unwrap();
        let mut writer = SerializedFileWriter::new(file, schema, Arc::new(settings)).unwrap();
        for group in texts.chunks(9) {
            let mut rows = writer.next_row_group().unwrap();
            let mut column = rows.next_column().unwrap().unwrap();
            let ids: Vec<i64> = (0..group.len() as i64).collect();
            column
                .typed::<Int64Type>()
                .write_batch(&ids, None, None)
                .unwrap();
            column.close().unwrap();
            let mut column = rows.next_column().unwrap().unwrap();
            let there: Vec<i16> = (0..group.len())
                .map(|n| i16::from(!holes || n % 7 != 6))
                .collect();
            let values: Vec<ByteArray> = group
                .iter()
                .zip(&there)
                .filter(|(_, there)| **there == 1)
                .map(|(text, _)| ByteArray::from(text.as_str()))
                .collect();
            column
                .typed::<ByteArrayType>()
                .write_batch(&values, Some(&there), None)
                .unwrap();
            column.close().unwrap();
            rows.close().unwrap();
        }
        writer.close().unwrap();
    }

    #[test]
    fn held_out_rows_and_lines_are_not_trained_on() {
        let place = tempfile::tempdir().unwrap();
        let stories = tales(20);
        let at = |name: &str| place.path().join(name);
        write(&at("a.parquet"), &stories, false);
        fs::write(at("b.jsonl"), json_lines(&stories[..3])).unwrap();
        for (input, held_out) in [("a.parquet", "b.jsonl"), ("b.jsonl", "a.parquet")] {
            let (inputs, validation) = ([at(input), at("c.txt")], [at(held_out)]);
            fs::write(at("c.txt"), "to train on").unwrap();
            let out = at(&format!("out-{input}"));
            let prepared = prepare(
                &Job {
                    validation: &validation,
                    validation_fraction: 0.0,
                    ..job(&inputs, &out)
                },
                &mut (),
            );
            assert_eq!(prepared.unwrap().held_out_again, 3);
            let [train, held] = documents(&out);
            assert!(train.iter().all(|text| !held.contains(text)));
        }
    }

    #[test]
    fn parquet_gives_the_same_documents_and_resumes() {
        let place = tempfile::tempdir().unwrap();
        let stories = tales(40);
        let input = [place.path().join("a.parquet")];
        write(&input[0], &stories, false);
        let out = place.path().join("out");
        prepare(&job(&input, &out), &mut ()).unwrap();
        assert_eq!(all(&out), sorted(stories.clone()));
        let broken = place.path().join("broken");
        while prepare(&job(&input, &broken), &mut BreakAfter(0)).is_err() {}
        assert!(files(&out) == files(&broken));

        write(&input[0], &stories, true);
        let line = prepare(&job(&input, &place.path().join("holes")), &mut ())
            .unwrap_err()
            .to_string();
        assert!(
            line.contains("a.parquet:row 7: no text in column \"text\""),
            "{line}"
        );
        let wrong = place.path().join("wrong");
        for (field, said) in [
            ("body", "choose one of id, text"),
            ("id", "does not hold strings"),
        ] {
            let line = prepare(
                &Job {
                    field,
                    ..job(&input, &wrong)
                },
                &mut (),
            )
            .unwrap_err()
            .to_string();
            assert!(line.contains(said), "{line}");
        }
    }

    /// A column of a negative length, for one: the library's own check of it is a panic.
    #[test]
    fn metadata_that_the_parquet_library_breaks_off_on_is_bad_input() {
        let place = tempfile::tempdir().unwrap();
        let input = [place.path().join("a.parquet")];
        write(&input[0], &tales(3), false);
        let whole = fs::read(&input[0]).unwrap();
        // The metadata, its length in four bytes, four of magic.
        let end = whole.len() - 8;
        let length = u32::from_le_bytes(whole[end..end + 4].try_into().unwrap()) as usize;
        let mut broken_off = 0;
        for at in end - length..end {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&input[0], damaged).unwrap();
            let mut heard = Heard::default();
            let out = place.path().join(format!("out-{at}"));
            let skip = Job {
                on_bad_input: OnBadInput::Skip,
                ..job(&input, &out)
            };
            // Whatever it gives, it gives it without a panic.
            let _ = prepare(&skip, &mut heard);
            broken_off += usize::from(heard.0.iter().any(|line| line.contains("breaks off")));
        }
        assert!(broken_off > 0, "no panic of the library was reached");
    }

    #[test]
    fn going_on_behind_a_damaged_group_of_rows_repeats_nothing() {
        let place = tempfile::tempdir().unwrap();
        let input = [place.path().join("a.parquet")];
        write(&input[0], &tales(40), false);
        let mut bytes = fs::read(&input[0]).unwrap();
        // Within the first group's page of texts.
        bytes[400..420].fill(0xff);
        fs::write(&input[0], bytes).unwrap();
        let (whole, broken) = (place.path().join("whole"), place.path().join("broken"));
        let skip = |out| Job {
            on_bad_input: OnBadInput::Skip,
            ..job(&input, out)
        };
        let mut heard = Heard::default();
        prepare(&skip(&whole), &mut heard).unwrap();
        assert_eq!(heard.0.len(), 1, "{:?}", heard.0);
        while prepare(&skip(&broken), &mut BreakAfter(0)).is_err() {}
        assert!(files(&whole) == files(&broken));
    }
}

#[test]
fn named_inputs_are_held_out_whole() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let texts = tales(30);
    let (held, trained) = texts.split_at(10);
    fs::create_dir(at("all")).unwrap();
    fs::write(at("all/held.jsonl"), json_lines(held)).unwrap();
    fs::write(at("all/trained.jsonl"), json_lines(trained)).unwrap();
    let (inputs, validation, out) = ([at("all")], [at("all/held.jsonl")], at("out"));
    let job = Job {
        validation: &validation,
        validation_fraction: 0.0,
        ..job(&inputs, &out)
    };
    // Interrupted in the middle, and continued.
    while let Err(error) = prepare(&job, &mut BreakAfter(1)) {
        assert!(matches!(error, PrepareError::Stopped), "{error}");
    }
    let [train, validation] = documents(&out);
    assert_eq!(train, trained);
    assert_eq!(validation, held);
}
