//! From tokens to text as it comes: characters that several tokens make, and stop strings.

mod characters;
mod output;
mod stops;
mod vocabulary;

pub use characters::Characters;
pub use output::{Output, Released, TextToken};
pub use stops::{Stops, StopsError};
pub use vocabulary::Vocabulary;
