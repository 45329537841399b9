//! A study: language models that differ only in their attention, trained side by side.
//!
//! [`results`] is what a study measured; [`figures`] computes from it what readers compare (perplexity, bits
//! per byte, steps to the baseline's loss); [`table`] and [`verdict`] say it in a terminal, [`report`] on a page
//! whose curves come from [`curves`] and are drawn by [`chart`].

pub mod chart;
pub mod curves;
pub mod description;
pub mod figures;
pub mod labels;
pub mod markup;
pub mod matching;
pub mod report;
mod report_facts;
pub mod results;
pub mod running;
pub mod scale;
mod series;
pub mod table;
pub mod table_text;
pub mod verdict;

#[cfg(test)]
mod synthetic;
