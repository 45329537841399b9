//! What is said of a file whose numbers its bytes do not bear out.

use parquet::errors::ParquetError;

/// An error of the library's own kind.
pub(super) fn damaged(problem: impl Into<String>) -> ParquetError {
    ParquetError::General(problem.into())
}
