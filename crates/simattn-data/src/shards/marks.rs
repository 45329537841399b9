//! What a file that is no shard seems to be, by the marks that formats put at their beginning.

/// A format that is known by its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// What the file begins with.
    pub(super) found: &'static str,
    /// What to do with such a file.
    pub(super) hint: &'static str,
}

const UNPACK: &str = "unpack it first";
const TEXT: &str = "give it to `simattn prepare` instead";
const WRITE: &str = "write its ids as bare little-endian numbers of 16 bits, or of 32 bits where \
                     the vocabulary is above 65,536, train.bin beside val.bin";
const MODEL: &str = "that is a model, not data";
const NOT_DATA: &str = "that holds no token ids";
const CONVERT: &str = "write its text as JSON lines and give them to `simattn prepare`";

/// Bytes at a place, and what they mark. Each is so long that ids begin with it by chance in no
/// file that anybody has.
#[rustfmt::skip]
const MARKS: &[(usize, &[u8], &str, &str)] = &[
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard header", UNPACK),
    (0, b"\xfd7zXZ\0", "an xz header", UNPACK),
    (0, b"\x04\x22\x4d\x18", "an LZ4 header", UNPACK),
    (0, b"\x02\x21\x4c\x18", "an LZ4 header", UNPACK),
    (0, b"\xff\x06\0\0sNaPpY", "a Snappy header", UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z header", UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR header", UNPACK),
    (0, b"PK\x03\x04", "a zip header, as .npz and .pt files do", UNPACK),
    (0, b"PK\x05\x06", "the header of an empty zip file", UNPACK),
    (257, b"ustar", "the header of a tar file", UNPACK),
    (0, b"\x93NUMPY", "a NumPy header", WRITE),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 header", WRITE),
    (0, b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19", "the header of an old .pt file", WRITE),
    (0, b"MATLAB 5.0 MAT", "a MATLAB header", WRITE),
    (0, b"LITPKDS", "the header of lit-gpt's packed data", WRITE),
    (0, b"MMIDIDX\0", "the index of a Megatron data set", "prepare the text itself"),
    (0, b"TNTIDX\0\0", "the index of a fairseq data set", "prepare the text itself"),
    (0, b"PAR1", "a Parquet header", TEXT),
    (0, b"ARROW1", "an Arrow header", CONVERT),
    (0, b"FEA1", "a Feather header", CONVERT),
    (0, b"Obj\x01", "an Avro header", CONVERT),
    (0, b"SQLite format 3\0", "an SQLite header", CONVERT),
    (16, b"\xde\xc0\xef\xbe", "the header of an LMDB data base", CONVERT),
    (0, b"GGUF", "a GGUF header", MODEL),
    (0, b"lmgg", "a GGML header", MODEL),
    (0, b"tjgg", "a GGML header", MODEL),
    // llm.c's other files: 20240326, 20240803, 20240527, 20240328, 20240327 and 20240522.
    (0, b"\xc6\xd7\x34\x01", "the header of llm.c's model weights", MODEL),
    (0, b"\xa3\xd9\x34\x01", "the header of llm.c's model weights", MODEL),
    (0, b"\x8f\xd8\x34\x01", "the header of llm.c's training state", MODEL),
    (0, b"\xc8\xd7\x34\x01", "the header of llm.c's tokenizer", NOT_DATA),
    (0, b"\xc7\xd7\x34\x01", "the header of llm.c's debugging state", NOT_DATA),
    (0, b"\x8a\xd8\x34\x01", "the header of llm.c's multiple-choice tasks", NOT_DATA),
    (0, b"version https://git-lfs", "a Git LFS pointer", "fetch the file itself with git lfs pull"),
    (0, b"%PDF-", "a PDF header", NOT_DATA),
    (0, b"\x89PNG\r\n", "a PNG header", NOT_DATA),
    (0, b"\x7fELF", "an ELF header", NOT_DATA),
];

/// The mark of a file that begins with `start`, the first kilobyte or all of it; `last` is its last
/// byte and `length` all its bytes.
pub(super) fn mark(start: &[u8], last: u8, length: u64) -> Option<Mark> {
    let known = MARKS.iter().find(|(at, magic, ..)| {
        start
            .get(*at..)
            .is_some_and(|start| start.starts_with(magic))
    });
    if let Some(&(_, _, found, hint)) = known {
        return Some(Mark { found, hint });
    }
    let seen = |found, hint| Some(Mark { found, hint });
    // Deflate is its only method, and the upper three flags are always 0.
    if start.starts_with(b"\x1f\x8b\x08") && start.get(3).is_none_or(|flags| flags & 0xe0 == 0) {
        return seen("a gzip header", UNPACK);
    }
    if start.starts_with(b"BZh") && start.get(4..).is_some_and(|at| at.starts_with(b"1AY&SY")) {
        return seen("a bzip2 header", UNPACK);
    }
    if is_pickle(start, last) {
        return seen("a Python pickle", WRITE);
    }
    if is_safetensors(start, length) {
        return seen("a safetensors header", MODEL);
    }
    if is_arrow_stream(start, length) {
        return seen("the header of an Arrow stream", CONVERT);
    }
    if is_text(start) {
        return if start.trim_ascii_start().starts_with(b"<") {
            seen("markup, as a web page does", "fetch the file itself")
        } else {
            seen("text", TEXT)
        };
    }
    None
}

/// Protocols 2 to 5: the opcode that names the protocol, then a frame or another opcode, a stop at
/// the end.
fn is_pickle(start: &[u8], last: u8) -> bool {
    let follows = match start {
        [0x80, 4 | 5, 0x95, ..] => true,
        [0x80, 2 | 3, opcode, ..] => b"]}()cKMJGXUqhN\x8a\x8c\x85\x86\x87".contains(opcode),
        _ => false,
    };
    follows && last == b'.'
}

/// The length of a JSON object, and the object.
fn is_safetensors(start: &[u8], length: u64) -> bool {
    let (Some(eight), Some(json)) = (start.first_chunk::<8>(), start.get(8..10)) else {
        return false;
    };
    let header = u64::from_le_bytes(*eight);
    (2..=length.saturating_sub(8)).contains(&header)
        && [b"{\"", b"{}", b"{ "].contains(&&[json[0], json[1]])
}

/// A continuation mark, and the length of a message that is a multiple of 8.
fn is_arrow_stream(start: &[u8], length: u64) -> bool {
    let Some([0xff, 0xff, 0xff, 0xff, size @ ..]) = start.first_chunk::<8>() else {
        return false;
    };
    let size = u64::from(u32::from_le_bytes(*size));
    size > 0 && size.is_multiple_of(8) && size < length
}

/// Whether a start is text of some encoding: no control character in so many bytes. Half the bytes
/// of ids are their upper ones, which are small numbers.
fn is_text(start: &[u8]) -> bool {
    const LEAST: usize = 32;
    let printable = |byte: &u8| *byte >= 0x20 && *byte != 0x7f || b"\t\n\r\x0c".contains(byte);
    start.len() >= LEAST && start.iter().all(printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_and_ids_have_none() {
        let found = |start: &[u8]| {
            let last = start.last().copied().unwrap_or_default();
            mark(start, last, start.len() as u64).map(|mark| mark.found)
        };
        let tar = [&[b'a'; 100][..], &[0; 157], b"ustar\0"].concat();
        let lmdb = [&[0; 16][..], b"\xde\xc0\xef\xbe", &[0; 40]].concat();
        for (start, said) in [
            (&b"\x1f\x8b\x08\0\0\0"[..], "gzip"),
            (b"BZh91AY&SY", "bzip2"),
            (b"\x80\x04\x95\x10\0\0\0\0\0\0\0]\x94.", "pickle"),
            (b"\x80\x02]q\0.", "pickle"),
            (b"\x10\0\0\0\0\0\0\0{\"a\":1}         ", "safetensors"),
            (
                b"\xff\xff\xff\xff\x08\0\0\0\0\0\0\0\0\0\0\0\0",
                "Arrow stream",
            ),
            (b"MMIDIDX\0\0\x01", "Megatron"),
            (b"<!DOCTYPE html><html><body>gone</body>", "a web page"),
            (
                "Grüße aus einer Textdatei, die niemand wollte".as_bytes(),
                "text",
            ),
            (&tar, "tar"),
            (&lmdb, "LMDB"),
        ] {
            let found = found(start).unwrap_or("nothing");
            assert!(found.contains(said), "{said}: {found}");
        }
        // llm.c's numbers, as its files begin.
        for number in [
            20_240_326_i32,
            20_240_803,
            20_240_527,
            20_240_328,
            20_240_327,
            20_240_522,
        ] {
            assert!(found(&number.to_le_bytes()).is_some_and(|found| found.contains("llm.c")));
        }
        // Ids whose lower bytes are letters or the first byte of a mark.
        let ids = |ids: &[u16]| -> Vec<u8> { ids.iter().flat_map(|id| id.to_le_bytes()).collect() };
        assert_eq!(found(&ids(&[0x1f, 0x8b, 8, 0x20, 0x7b, 0x22])), None);
        assert_eq!(found(&ids(&[b'{'.into(); 40])), None);
        assert_eq!(found(&ids(&[50_256, 464, 3290, 318, 257])), None);
    }
}
