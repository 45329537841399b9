//! The pages of one column, checked one by one.

use super::deltas;
use super::error::damaged;
use super::header::PageHeader;
use super::records::{BATCH, Records, runs};
use flate2::read::MultiGzDecoder;
use parquet::basic::{Compression, Encoding, Type};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::data_type::{ByteArray, FixedLenByteArray, Int96};
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::ChunkReader;
use parquet::file::serialized_reader::SerializedPageReader;
use std::fs::File;
use std::io::{self, Read};
use std::mem::size_of;
use std::sync::Arc;

/// Bytes that may be asked for by a number alone.
const MOST_ASKED: u64 = 1 << 30;

/// Gives the library its pages, each after its numbers were held against its bytes.
pub(super) struct CheckedPages {
    pages: SerializedPageReader<File>,
    file: Arc<File>,
    column: ColumnChunkMetaData,
    /// Where the next header is, and the bytes of the column from there on.
    offset: u64,
    left: u64,
    /// Rows that the group says it has, and what was seen of them.
    rows: u64,
    seen: Records,
    /// Levels whose order nobody writes any more; then rows are not counted.
    uncounted: bool,
    /// Bytes of the longest value in the dictionary.
    longest: u64,
}

impl CheckedPages {
    pub(super) fn new(
        file: Arc<File>,
        column: &ColumnChunkMetaData,
        rows: u64,
    ) -> Result<Self, ParquetError> {
        let (offset, left) = column.byte_range();
        let in_memory = usize::try_from(rows)?;
        Ok(Self {
            pages: SerializedPageReader::new(file.clone(), column, in_memory, None)?,
            file,
            column: column.clone(),
            offset,
            left,
            rows,
            seen: Records::default(),
            uncounted: false,
            longest: 0,
        })
    }

    fn damaged(&self, problem: &str) -> ParquetError {
        damaged(format!(
            "column {}: {problem}",
            self.column.column_path().string()
        ))
    }

    /// What the next page with values says of its size, before it is unpacked.
    fn check_header(&mut self) -> Result<(), ParquetError> {
        while self.left > 0 {
            let header = PageHeader::read(self.file.get_read(self.offset)?, self.left)?;
            self.left -= header.length;
            let start = self.offset + header.length;
            let packed = u64::try_from(header.packed)
                .ok()
                .filter(|&packed| packed <= self.left)
                .ok_or_else(|| {
                    self.damaged(&format!(
                        "a page of {} bytes where {} are left",
                        header.packed, self.left
                    ))
                })?;
            self.offset = start + packed;
            self.left -= packed;
            if header.kind != PageHeader::INDEX {
                return self.check_unpacked(&header, start, packed);
            }
        }
        Ok(())
    }

    /// Bytes that a packing makes of one byte at most.
    fn check_unpacked(
        &self,
        header: &PageHeader,
        start: u64,
        packed: u64,
    ) -> Result<(), ParquetError> {
        let growth = match self.column.compression() {
            // A copy of 64 bytes takes three.
            Compression::SNAPPY => 22,
            // Each byte adds 255 to a copy's length.
            Compression::LZ4 | Compression::LZ4_RAW => 255,
            // A copy of 258 bytes takes two bits.
            Compression::GZIP(_) => 1032,
            // A block of 128 KiB takes four bytes.
            Compression::ZSTD(_) => 1 << 15,
            // Not packed, or refused.
            _ => return Ok(()),
        };
        let unpacked = u64::try_from(header.unpacked).unwrap_or(0);
        let most = packed.saturating_mul(growth);
        let too_large = || {
            self.damaged(&format!(
                "a page of {packed} packed bytes does not become the {unpacked} that it names"
            ))
        };
        if unpacked > most {
            return Err(too_large());
        }
        // The library unpacks gzip to its end, whatever the header says.
        if matches!(self.column.compression(), Compression::GZIP(_)) && most > MOST_ASKED {
            let page = self.file.get_bytes(start, usize::try_from(packed)?)?;
            let levels = header.repeated.saturating_add(header.defined);
            let levels = usize::try_from(levels).unwrap_or(0);
            let body = page.get(levels..).unwrap_or_default();
            let mut body = MultiGzDecoder::new(body).take(unpacked + 1);
            // What is damaged the library finds, by then.
            let length = io::copy(&mut body, &mut io::sink()).unwrap_or(0);
            if length > unpacked {
                return Err(too_large());
            }
        }
        Ok(())
    }

    /// Bytes that a value takes in memory.
    fn value_size(&self) -> u64 {
        let size = match self.column.column_type() {
            Type::BOOLEAN => size_of::<bool>(),
            Type::INT32 | Type::FLOAT => size_of::<i32>(),
            Type::INT64 | Type::DOUBLE => size_of::<i64>(),
            Type::INT96 => size_of::<Int96>(),
            Type::BYTE_ARRAY => size_of::<ByteArray>(),
            Type::FIXED_LEN_BYTE_ARRAY => size_of::<FixedLenByteArray>(),
        };
        size as u64
    }

    /// Bytes of a value of fixed length.
    fn width(&self) -> u64 {
        u64::try_from(self.column.column_descr().type_length()).unwrap_or(0)
    }

    /// The values that a dictionary names, each of which is there in full.
    fn check_dictionary(&mut self, page: &[u8], count: u64) -> Result<(), ParquetError> {
        let bytes = page.len() as u64;
        let most = match self.column.column_type() {
            Type::BOOLEAN => bytes.saturating_mul(8),
            Type::INT32 | Type::FLOAT => bytes / 4,
            Type::INT64 | Type::DOUBLE => bytes / 8,
            Type::INT96 => bytes / 12,
            // Its length in four bytes.
            Type::BYTE_ARRAY => bytes / 4,
            // Of values without bytes there is one.
            Type::FIXED_LEN_BYTE_ARRAY => bytes.checked_div(self.width()).unwrap_or(1),
        };
        if count > most || count.saturating_mul(self.value_size()) > MOST_ASKED {
            return Err(self.damaged(&format!(
                "a dictionary of {bytes} bytes does not hold the {count} values that it names"
            )));
        }
        if self.column.column_type() == Type::BYTE_ARRAY {
            let mut rest = page;
            while let Some((length, behind)) = rest.split_first_chunk() {
                let length = u32::from_le_bytes(*length);
                self.longest = self.longest.max(length.into());
                rest = behind.get(length as usize..).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Lists whose values are read together, and lengths that a page lists.
    fn check_data(&mut self, page: &Page) -> Result<(), ParquetError> {
        let count = u64::from(page.num_values());
        let parts = Parts::of(page, &self.column)
            .ok_or_else(|| self.damaged("a page ends within its levels"))?;
        match parts.repeated {
            Repeated::Never => self.seen.add(0, count),
            Repeated::Runs(levels) => {
                let bits = bits_of(self.column.column_descr().max_rep_level());
                let seen = &mut self.seen;
                runs(levels, bits, count, |level, count| seen.add(level, count));
            }
            Repeated::Packed => {
                self.uncounted = true;
                self.seen.add_page(count);
            }
        }
        let coded = page.encoding();
        let by_width = coded == Encoding::BYTE_STREAM_SPLIT
            && self.column.column_type() == Type::FIXED_LEN_BYTE_ARRAY;
        // Two levels, a value, and its bytes where they are copied.
        let each = 4 + self.value_size() + if by_width { self.width() } else { 0 };
        let by_dictionary = matches!(coded, Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY);
        let copied = match (&parts.repeated, by_dictionary) {
            (Repeated::Never, _) | (_, false) => 0,
            _ => self.seen.most_in_row.saturating_mul(self.longest),
        };
        let together = match parts.repeated {
            Repeated::Never => count.min(BATCH),
            _ => self.seen.most_together,
        };
        if together.saturating_mul(each) > MOST_ASKED || copied > MOST_ASKED {
            return Err(self.damaged(&format!(
                "rows around row {} hold more values than fit into memory at once",
                self.seen.begun
            )));
        }
        self.check_lengths(parts.values, coded, count)
    }

    fn check_lengths(
        &self,
        values: &[u8],
        coded: Encoding,
        count: u64,
    ) -> Result<(), ParquetError> {
        let listed = |lengths: &[u8]| {
            let listed = deltas::count(lengths).unwrap_or(0);
            if listed <= count && listed.saturating_mul(4) <= MOST_ASKED {
                Ok(())
            } else {
                Err(self.damaged(&format!(
                    "a page of {count} values lists the lengths of {listed}"
                )))
            }
        };
        match coded {
            Encoding::DELTA_LENGTH_BYTE_ARRAY => listed(values),
            Encoding::DELTA_BYTE_ARRAY => {
                listed(values)?;
                // What a value has in common with the one before it is copied.
                let (shared, rest) = deltas::sum(values)
                    .ok_or_else(|| self.damaged("a page ends within its lengths"))?;
                listed(rest)?;
                if shared <= MOST_ASKED.saturating_add(rest.len() as u64) {
                    Ok(())
                } else {
                    Err(self.damaged(&format!(
                        "a page of {} bytes makes {shared} of them",
                        values.len()
                    )))
                }
            }
            _ => Ok(()),
        }
    }

    /// A column that ends early would go on with rows without a value, as many as the group names.
    fn check_end(&self) -> Result<(), ParquetError> {
        if self.uncounted || self.seen.begun >= self.rows {
            Ok(())
        } else {
            Err(self.damaged(&format!(
                "it has {} rows of the {} that its group names",
                self.seen.begun, self.rows
            )))
        }
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        loop {
            self.check_header()?;
            let Some(page) = self.pages.get_next_page()? else {
                return self.check_end().map(|()| None);
            };
            match &page {
                Page::DictionaryPage {
                    buf, num_values, ..
                } => {
                    self.check_dictionary(buf, u64::from(*num_values))?;
                }
                // The library would take it for the end.
                _ if page.num_values() == 0 => continue,
                _ => self.check_data(&page)?,
            }
            return Ok(Some(page));
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        // Rows are read, never skipped; this takes the page with its checks.
        self.get_next_page().map(|_| ())
    }

    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// How a page says which values are repeated within a row.
enum Repeated<'a> {
    Never,
    Runs(&'a [u8]),
    Packed,
}

/// A data page taken apart.
struct Parts<'a> {
    repeated: Repeated<'a>,
    values: &'a [u8],
}

impl<'a> Parts<'a> {
    fn of(page: &'a Page, column: &ColumnChunkMetaData) -> Option<Self> {
        let column = column.column_descr();
        let (repeats, defines) = (column.max_rep_level(), column.max_def_level());
        let mut repeated = Repeated::Never;
        let mut values: &[u8] = page.buffer();
        match page {
            Page::DataPage {
                num_values,
                def_level_encoding,
                rep_level_encoding,
                ..
            } => {
                if repeats > 0 {
                    let levels;
                    (levels, values) = split(values, *rep_level_encoding, repeats, *num_values)?;
                    repeated = match rep_level_encoding {
                        Encoding::RLE => Repeated::Runs(levels),
                        _ => Repeated::Packed,
                    };
                }
                if defines > 0 {
                    (_, values) = split(values, *def_level_encoding, defines, *num_values)?;
                }
            }
            Page::DataPageV2 {
                def_levels_byte_len,
                rep_levels_byte_len,
                ..
            } => {
                let levels;
                (levels, values) = values.split_at_checked(*rep_levels_byte_len as usize)?;
                (_, values) = values.split_at_checked(*def_levels_byte_len as usize)?;
                if repeats > 0 {
                    repeated = Repeated::Runs(levels);
                }
            }
            Page::DictionaryPage { .. } => {}
        }
        Some(Self { repeated, values })
    }
}

/// The levels in front of a page of the first version, and what follows.
fn split(data: &[u8], coded: Encoding, most: i16, count: u32) -> Option<(&[u8], &[u8])> {
    match coded {
        Encoding::RLE => {
            let (length, rest) = data.split_first_chunk()?;
            rest.split_at_checked(u32::from_le_bytes(*length) as usize)
        }
        _ => {
            let bits = u64::from(count) * u64::from(bits_of(most));
            data.split_at_checked(usize::try_from(bits.div_ceil(8)).ok()?)
        }
    }
}

/// Bits that hold levels up to `most`.
fn bits_of(most: i16) -> u32 {
    u16::BITS - most.unsigned_abs().leading_zeros()
}
