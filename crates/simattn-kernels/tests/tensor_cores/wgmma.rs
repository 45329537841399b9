//! Operands of `wgmma` as `cube/product/wgmma` copies and describes them, read as the PTX ISA says
//! that the instruction reads them.

use super::cube::tensor_cores::lanes::{CHUNK, SIDE};
use super::swizzled::{ACROSS, Block, DEPTH, OF_GROUP, place};

/// Bytes of a value.
const BYTES: u64 = 2;

/// A value that tells its line and term.
fn value(line: usize, term: usize) -> u32 {
    (line * DEPTH + term) as u32
}

/// A block in shared memory from byte `begin` on, as the kernel copies it, value by value.
fn staged(block: Block, begin: u64) -> Vec<Option<u32>> {
    let first = (begin / BYTES) as usize;
    let mut memory = vec![None; first + block.chunks() * CHUNK];
    for nth in 0..block.chunks() {
        let (row, column) = (nth / block.across(), nth % block.across());
        for i in 0..CHUNK {
            let (line, term) = match block.turned {
                true => (column * CHUNK + i, row),
                false => (row, column * CHUNK + i),
            };
            let at = first + place(row, column) * CHUNK + i;
            assert_eq!(memory[at], None, "two values in one place");
            memory[at] = Some(value(line, term));
        }
    }
    memory
}

/// The place in bytes of a value in the matrix that `descriptor` describes: 128-byte swizzling, its
/// lines side by side or its terms.
fn place_read(descriptor: u64, line: usize, term: usize, turned: bool) -> u64 {
    let field = |first: u32| (descriptor >> first & 0x3fff) << 4;
    assert_eq!(descriptor >> 62, 1, "128-byte swizzling");
    let [line, term] = [line as u64, term as u64];
    let (leading, stride) = (field(16), field(32));
    let at = field(0)
        + match turned {
            true => line / 64 * leading + line % 64 * BYTES + term / 8 * stride + term % 8 * 128,
            false => line / 8 * stride + line % 8 * 128 + term * BYTES,
        };
    at ^ ((at >> 7 & 7) << 4)
}

#[test]
fn wgmma_reads_what_was_copied() {
    // Behind other blocks, all of which begin at a multiple of 1024 bytes.
    let begin = 3 * 1024;
    for (turned, lines) in [(false, 128), (true, 128), (false, 256), (true, 256)] {
        let block = Block { turned, lines };
        let memory = staged(block, begin);
        for first in (0..lines).step_by(OF_GROUP) {
            for step in 0..DEPTH / SIDE {
                let descriptor = block.descriptor()
                    + (begin >> 4)
                    + (first * ACROSS) as u64
                    + step as u64 * block.terms_apart();
                // A group of planes reads 64 rows; of the columns, all follow the first.
                for line in 0..lines - first {
                    for term in 0..SIDE {
                        let at = place_read(descriptor, line, term, turned) / BYTES;
                        let expected = value(first + line, step * SIDE + term);
                        assert_eq!(
                            memory[at as usize],
                            Some(expected),
                            "{block:?} {line} {term}"
                        );
                    }
                }
            }
        }
    }
}
