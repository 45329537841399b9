//! A study: language models that differ only in their attention, trained side by side.
//!
//! [`results`] is what a study measured; `figures` computes from it what readers compare
//! (perplexity, bits per byte, steps to the baseline's loss); [`table`] and [`verdict`] say it in a
//! terminal, [`report`] on a page whose curves come from `curves` and are drawn by `chart`.

pub(crate) mod chart;
pub(crate) mod curves;
pub(crate) mod description;
pub(crate) mod figures;
pub(crate) mod labels;
pub(crate) mod markup;
pub(crate) mod matching;
pub mod report;
mod report_facts;
pub mod results;
pub(crate) mod running;
pub(crate) mod scale;
mod series;
pub mod table;
pub(crate) mod table_text;
pub mod verdict;

#[cfg(test)]
mod synthetic;
