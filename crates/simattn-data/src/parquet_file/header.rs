//! What comes before a page and at the end of the file: Thrift structures, walked through
//! before the library reads them.

use super::error::damaged;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::Read;

/// Structures within structures.
const DEEPEST: u32 = 64;

/// The length of the metadata and the mark behind it.
const FOOTER: u64 = 8;
const MARK: &[u8] = b"PAR1";

/// What a page's header says.
#[derive(Debug, Default)]
pub(super) struct PageHeader {
    /// Bytes of the header itself.
    pub(super) length: u64,
    pub(super) kind: i64,
    /// Bytes of the page as it lies in the file, and as it is to become.
    pub(super) packed: i64,
    pub(super) unpacked: i64,
    /// Bytes of levels in front of what is packed, in the second version of a data page.
    pub(super) repeated: i64,
    pub(super) defined: i64,
}

impl PageHeader {
    /// A page without values, between others.
    pub(super) const INDEX: i64 = 1;

    /// Reads a header that has `most` bytes at most.
    pub(super) fn read(from: impl Read, most: u64) -> Result<Self, ParquetError> {
        let mut header = Self::default();
        let mut numbers = true;
        let mut thrift = Thrift { from, left: most };
        thrift.structure(0, 0, &mut |within, field, seen| {
            let place = match (within, field) {
                (0, 1) => &mut header.kind,
                (0, 2) => &mut header.unpacked,
                (0, 3) => &mut header.packed,
                (8, 5) => &mut header.defined,
                (8, 6) => &mut header.repeated,
                _ => return Ok(()),
            };
            match seen {
                Seen::Number(number) => *place = number,
                // The library reads a number there, whatever it is.
                _ => numbers = false,
            }
            Ok(())
        })?;
        header.length = most - thrift.left;
        if numbers {
            Ok(header)
        } else {
            Err(damaged(
                "a page's header holds no numbers where they belong",
            ))
        }
    }
}

/// Walks through the metadata. What is not there at all is left to the library to say.
pub(super) fn check_metadata(file: &File) -> Result<(), ParquetError> {
    let Some(end) = Length::len(file).checked_sub(FOOTER) else {
        return Ok(());
    };
    let footer = file.get_bytes(end, FOOTER as usize)?;
    let (length, mark) = footer.split_at(4);
    let length = length.try_into().map_or(0, u32::from_le_bytes);
    match end.checked_sub(length.into()) {
        Some(start) if mark == MARK => {
            let metadata = file.get_bytes(start, length as usize)?;
            let mut thrift = Thrift {
                from: &metadata[..],
                left: length.into(),
            };
            let mut columns = Columns::within(length.into());
            thrift.structure(0, 0, &mut |within, field, seen| {
                match (within, field, seen) {
                    (0, COLUMNS, Seen::List) => columns = Columns::within(length.into()),
                    (0, COLUMNS, _) => return Err(damaged("it lists no columns")),
                    (IN_COLUMNS, 5, Seen::Number(children)) => columns.children = children,
                    (IN_COLUMNS, 5, _) => {
                        return Err(damaged("a column names its children by no number"));
                    }
                    (IN_COLUMNS, _, Seen::End) => columns.next()?,
                    _ => {}
                }
                Ok(())
            })
        }
        _ => Ok(()),
    }
}

/// The field of the metadata that lists the columns, and what its elements are within.
const COLUMNS: i64 = 2;
const IN_COLUMNS: i64 = LIST | COLUMNS;

/// The tree of columns, whose nodes are listed one after the other, parents first. The library goes
/// down into it by calling itself, and makes room for as many children as a node names.
struct Columns {
    /// Bytes of the list, which holds no more nodes.
    most: i64,
    /// Children of the node that is being read.
    children: i64,
    /// Children still to come of each node above.
    above: Vec<i64>,
}

impl Columns {
    fn within(most: u64) -> Self {
        Self {
            most: i64::try_from(most).unwrap_or(i64::MAX),
            children: 0,
            above: Vec::new(),
        }
    }

    /// A node has ended.
    fn next(&mut self) -> Result<(), ParquetError> {
        let children = std::mem::take(&mut self.children);
        if children > self.most {
            return Err(damaged(format!("a column names {children} others within")));
        }
        if children > 0 {
            self.above.push(children);
        } else {
            while let Some(left) = self.above.pop() {
                if left > 1 {
                    self.above.push(left - 1);
                    break;
                }
            }
        }
        if self.above.len() > DEEPEST as usize {
            return Err(damaged("its columns are nested too deep"));
        }
        Ok(())
    }
}

/// Takes a field: the one whose structure holds it, itself, and its value.
type Take<'a> = dyn FnMut(i64, i64, Seen) -> Result<(), ParquetError> + 'a;

/// A value as far as it matters here.
#[derive(Clone, Copy)]
enum Seen {
    Number(i64),
    List,
    Other,
    /// The structure ends; this is no field.
    End,
}

/// A structure in the list that is a field of the outermost one.
const LIST: i64 = 1 << 32;

/// A structure that lies deeper.
const ELSEWHERE: i64 = -1;

/// Thrift's compact protocol. Nothing is longer than the bytes that are left.
struct Thrift<R> {
    from: R,
    left: u64,
}

impl<R: Read> Thrift<R> {
    fn byte(&mut self) -> Result<u8, ParquetError> {
        self.must_hold(1)?;
        let mut byte = [0];
        self.from.read_exact(&mut byte)?;
        self.left -= 1;
        Ok(byte[0])
    }

    fn must_hold(&self, bytes: u64) -> Result<(), ParquetError> {
        if bytes <= self.left {
            Ok(())
        } else {
            Err(damaged(format!(
                "its structure names {bytes} bytes where {} are left",
                self.left
            )))
        }
    }

    fn pass(&mut self, bytes: u64) -> Result<(), ParquetError> {
        self.must_hold(bytes)?;
        std::io::copy(&mut self.from.by_ref().take(bytes), &mut std::io::sink())?;
        self.left -= bytes;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, ParquetError> {
        let mut bytes = [0; 10];
        for at in 0..bytes.len() {
            bytes[at] = self.byte()?;
            if bytes[at] & 0x80 == 0 {
                return Ok(super::bits::take_varint(&mut &bytes[..]).unwrap_or(0));
            }
        }
        Err(damaged("its structure holds a number without an end"))
    }

    fn number(&mut self) -> Result<i64, ParquetError> {
        self.varint().map(super::bits::signed)
    }

    /// A structure that is the field `within` of another.
    fn structure(
        &mut self,
        depth: u32,
        within: i64,
        take: &mut Take<'_>,
    ) -> Result<(), ParquetError> {
        let mut field = 0;
        loop {
            let byte = self.byte()?;
            let kind = byte & 0x0f;
            if kind == 0 {
                return take(within, 0, Seen::End);
            }
            field = match byte >> 4 {
                0 => self.number()?,
                // A damaged field number may be as large as it likes; none of ours is.
                step => field.wrapping_add(i64::from(step)),
            };
            match kind {
                // The kind is the value.
                1 | 2 => take(within, field, Seen::Other)?,
                4..=6 => {
                    let number = self.number()?;
                    take(within, field, Seen::Number(number))?;
                }
                _ => {
                    let list = matches!(kind, 9 | 10);
                    take(within, field, if list { Seen::List } else { Seen::Other })?;
                    let field = if depth == 0 { field } else { ELSEWHERE };
                    self.value(kind, depth, field, take)?;
                }
            }
        }
    }

    /// A value that is no field of a structure, or not a number.
    fn value(
        &mut self,
        kind: u8,
        depth: u32,
        field: i64,
        take: &mut Take<'_>,
    ) -> Result<(), ParquetError> {
        if depth == DEEPEST {
            return Err(damaged("its structure is too deep"));
        }
        match kind {
            1..=3 => self.pass(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => {
                let head = self.byte()?;
                let count = match head >> 4 {
                    15 => self.varint()?,
                    count => count.into(),
                };
                self.must_hold(count)?;
                let within = if depth == 0 { LIST | field } else { ELSEWHERE };
                for _ in 0..count {
                    self.value(head & 0x0f, depth + 1, within, take)?;
                }
                Ok(())
            }
            11 => {
                let count = self.varint()?;
                self.must_hold(count)?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                for _ in 0..count {
                    self.value(kinds >> 4, depth + 1, ELSEWHERE, take)?;
                    self.value(kinds & 0x0f, depth + 1, ELSEWHERE, take)?;
                }
                Ok(())
            }
            12 => self.structure(depth + 1, field, take),
            13 => self.pass(16),
            _ => Err(damaged(format!(
                "its structure holds a value of kind {kind}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PageHeader;

    /// A field numbered i64::MAX, and one that is said to be the next.
    #[test]
    fn a_field_number_beyond_all_numbers_is_no_panic() {
        let mut bytes = vec![0x05, 0xfe];
        bytes.extend([0xff; 8]);
        bytes.extend([0x01, 0, 0x15, 0, 0]);
        let header = PageHeader::read(&bytes[..], bytes.len() as u64).unwrap();
        assert_eq!((header.length, header.kind), (bytes.len() as u64, 0));
    }
}
