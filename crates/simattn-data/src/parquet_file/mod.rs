//! Parquet files whose own numbers are held against their bytes.
//!
//! The library asks for memory by numbers that stand in the file: by the values that a dictionary
//! page names, the bytes that a packed page is to become, the lengths that a page lists. Each of
//! them is compared here with what the bytes can hold before the library acts on it, so that a
//! damaged file is an error and not the end of the memory.

mod bits;
mod deltas;
mod error;
mod header;
mod pages;
mod records;

use crate::contain::contained;
use error::damaged;
use pages::CheckedPages;
use parquet::bloom_filter::Sbbf;
use parquet::column::page::PageReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::file::reader::RowGroupReader;
use parquet::record::Row;
use parquet::record::reader::{ReaderIter, RowIter, TreeBuilder};
use parquet::schema::types::{SchemaDescriptor, Type};
use records::BATCH;
use std::fs::File;
use std::sync::Arc;

/// An open Parquet file. A panic of the library is an error here.
#[derive(Debug)]
pub struct ParquetFile {
    file: Arc<File>,
    metadata: ParquetMetaData,
}

impl ParquetFile {
    /// Reads what the file says about itself.
    ///
    /// # Errors
    ///
    /// Where it is no Parquet file.
    pub fn open(file: File) -> Result<Self, ParquetError> {
        sound(|| {
            header::check_metadata(&file)?;
            let metadata = ParquetMetaDataReader::new().parse_and_finish(&file)?;
            Ok(Self {
                file: Arc::new(file),
                metadata,
            })
        })
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &Type {
        self.metadata.file_metadata().schema()
    }

    /// Rows that the file says it has.
    #[must_use]
    pub fn num_rows(&self) -> i64 {
        self.metadata.file_metadata().num_rows()
    }

    /// Groups of rows.
    #[must_use]
    pub fn num_groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    /// Rows that a group says it has; a negative number is damage, which reading the group finds.
    ///
    /// # Panics
    ///
    /// Where there is no such group.
    #[must_use]
    pub fn num_rows_in(&self, group: usize) -> i64 {
        self.metadata.row_group(group).num_rows()
    }

    /// The rows of a group: of all columns, or of those in `columns`, which is part of the schema.
    ///
    /// # Errors
    ///
    /// Where the first rows cannot be read.
    pub fn rows(&self, group: usize, columns: Option<Type>) -> Result<ParquetRows, ParquetError> {
        sound(|| {
            let schema = match columns {
                Some(columns) => Arc::new(SchemaDescriptor::new(Arc::new(columns))),
                None => self.metadata.file_metadata().schema_descr_ptr(),
            };
            let group = Group {
                file: &self.file,
                metadata: self.metadata.row_group(group),
            };
            let rows = TreeBuilder::new()
                .with_batch_size(BATCH as usize)
                .as_iter(schema, &group)?;
            Ok(ParquetRows { rows })
        })
    }
}

/// The rows of a group, in order. After an error there is nothing more to be had of them.
pub struct ParquetRows {
    rows: ReaderIter,
}

impl Iterator for ParquetRows {
    type Item = Result<Row, ParquetError>;

    fn next(&mut self) -> Option<Self::Item> {
        sound(|| self.rows.next().transpose()).transpose()
    }
}

/// What the library gives. It panics on some damaged files.
fn sound<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    contained("parquet", read).unwrap_or_else(|problem| Err(damaged(problem)))
}

/// A group of rows as the library wants it, with pages that were checked.
struct Group<'a> {
    file: &'a Arc<File>,
    metadata: &'a RowGroupMetaData,
}

impl RowGroupReader for Group<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.metadata
    }

    fn num_columns(&self) -> usize {
        self.metadata.num_columns()
    }

    fn get_column_page_reader(&self, column: usize) -> Result<Box<dyn PageReader>, ParquetError> {
        let rows = self.metadata.num_rows();
        let rows = u64::try_from(rows).map_err(|_| damaged(format!("a group of {rows} rows")))?;
        let pages = CheckedPages::new(self.file.clone(), self.metadata.column(column), rows)?;
        Ok(Box::new(pages))
    }

    fn get_column_bloom_filter(&self, _: usize) -> Option<&Sbbf> {
        None
    }

    fn get_row_iter(&self, columns: Option<Type>) -> Result<RowIter<'_>, ParquetError> {
        RowIter::from_row_group(columns, self)
    }
}
