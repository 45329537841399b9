//! Zstandard through `prepare`: frames one after the other, those to be skipped, sums.
//!
//! reader: crates/simattn-data/src/reading/zstandard.rs except there_is_room
//! reader: crates/simattn-data/src/reading/text.rs except whole
//! reader: crates/simattn-data/src/reading/lines.rs
#![no_main]

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use simattn_data::Tokenizer;
use simattn_data::prepare::OnBadInput;
use simattn_fuzz::prepared::prepared;
use simattn_fuzz::{Place, parts};

fn seeds() -> Vec<Vec<u8>> {
    let text = "one\ntwo two two\n<|endoftext|>\nthree é\n";
    let long = text.repeat(200);
    let mut seeds = Vec::new();
    for level in [CompressionLevel::Uncompressed, CompressionLevel::Fastest] {
        for text in [text, &long, ""] {
            let frame = compress_to_vec(text.as_bytes(), level);
            let skipped = b"\x50\x2a\x4d\x18\x03\0\0\0abc".to_vec();
            seeds.push(parts::join(&[b"0".to_vec(), frame.clone()]));
            seeds.push(parts::join(&[
                b"0".to_vec(),
                frame.clone(),
                skipped,
                frame.clone(),
            ]));
            seeds.push(parts::join(&[b"1".to_vec(), frame]));
        }
    }
    seeds
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let switches = simattn_fuzz::Switches(all[0]);
    let mut file = Vec::new();
    for frame in &all[1..] {
        let mut frame = frame.to_vec();
        if !switches.on(0) {
            repair(&mut frame);
        }
        file.extend(frame);
    }
    let place = Place::fresh();
    let packed = place.write("in/a.txt.zst", &file);
    let tokenizer = Tokenizer::bytes();
    prepared(&place, &[packed], "text", &tokenizer, OnBadInput::Skip);
}

/// Gives a frame the sum of its contents, where it has one and can be read so far.
fn repair(frame: &mut [u8]) {
    let mut decoder = FrameDecoder::new();
    let mut rest = &frame[..];
    // A window that is large takes long here, and says nothing about sums.
    let window = frame.get(5).copied().unwrap_or(0xff);
    if window > 0x90 || decoder.reset(&mut rest).is_err() {
        return;
    }
    let read = decoder.decode_blocks(&mut rest, BlockDecodingStrategy::All);
    let end = frame.len() - rest.len();
    let stored = decoder.get_checksum_from_data();
    if read.is_ok() && stored.is_some() && end >= 4 {
        let _ = decoder.collect();
        if let Some(sum) = decoder.get_calculated_checksum() {
            frame[end - 4..end].copy_from_slice(&sum.to_le_bytes());
        }
    }
}

simattn_fuzz::target!(seeds, run);
