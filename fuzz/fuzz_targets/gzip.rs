//! gzip through `prepare`: members one after the other, each with its sum.
//!
//! reader: crates/simattn-data/src/reading/gzip.rs
//! reader: crates/simattn-data/src/reading/text.rs except whole
//! reader: crates/simattn-data/src/reading/lines.rs
#![no_main]

use flate2::{Compression, Crc, write::DeflateEncoder};
use simattn_data::Tokenizer;
use simattn_data::prepare::OnBadInput;
use simattn_fuzz::prepared::prepared;
use simattn_fuzz::{Place, parts};
use std::io::{Read, Write};

const TEXTS: [&str; 4] = [
    "one\ntwo\n<|endoftext|>\nthree",
    "\u{feff}é\r\n<|endoftext|> \n\n",
    "",
    "no end of line",
];

fn seeds() -> Vec<Vec<u8>> {
    let packed = |text: &str, level: u32| {
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::new(level));
        packer.write_all(text.as_bytes()).expect("memory");
        packer.finish().expect("memory")
    };
    let mut seeds = Vec::new();
    for (number, text) in TEXTS.iter().enumerate() {
        let text = text.repeat(1 + 40 * number);
        let [first, second] = [packed(&text, 0), packed(&text, 9)];
        let plain = b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec();
        let named = b"\x1f\x8b\x08\x1c\0\0\0\0\0\x03\x02\0ABname\0comment\0".to_vec();
        seeds.push(parts::join(&[b"0".to_vec(), plain.clone(), first.clone()]));
        seeds.push(parts::join(&[
            b"01".to_vec(),
            named.clone(),
            second.clone(),
            plain,
            first,
        ]));
        seeds.push(parts::join(&[b"10".to_vec(), named, second]));
    }
    seeds
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let switches = simattn_fuzz::Switches(all[0]);
    let mut file = Vec::new();
    let mut plain = Some(Vec::new());
    for member in all[1..].chunks(2) {
        let [head, packed] = [member[0], member.get(1).copied().unwrap_or_default()];
        let mut text = Vec::new();
        let mut stream = flate2::read::DeflateDecoder::new(packed).take(1 << 20);
        let whole = stream.read_to_end(&mut text).is_ok();
        let used = stream.into_inner().total_in() as usize;
        file.extend(head);
        // What follows the last block is not the member's.
        file.extend(&packed[..used.min(packed.len())]);
        if !switches.on(0) {
            let mut sum = Crc::new();
            sum.update(&text);
            file.extend(sum.sum().to_le_bytes());
            file.extend((text.len() as u32).to_le_bytes());
        }
        let known = head == b"\x1f\x8b\x08\0\0\0\0\0\0\xff" && whole && !switches.on(0);
        plain = plain.filter(|_| known).map(|all| [all, text].concat());
    }
    let place = Place::fresh();
    let packed = place.write("in/a.txt.gz", &file);
    let tokenizer = Tokenizer::bytes();
    let from_packed = prepared(&place, &[packed], "text", &tokenizer, OnBadInput::Skip);
    if let Some(text) = plain.filter(|_| switches.on(1)) {
        // The text as it is gives the same documents.
        let file = place.write("in/a.txt", &text);
        let from_plain = prepared(&place, &[file], "text", &tokenizer, OnBadInput::Skip);
        assert_eq!(from_packed, from_plain);
    }
}

simattn_fuzz::target!(seeds, run);
