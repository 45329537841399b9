//! A study: language models that differ only in their attention, trained side by side.
//!
//! [`results`] is what a study measured; `figures` computes from it what readers compare
//! (perplexity, bits per byte, steps to the baseline's loss), `price` what it costs, and
//! [`statistics`] which differences may be chance. [`table`], `against` and [`verdict`] say it in a
//! terminal, [`report`] on a page: `curves` come drawn by `chart`, the price by `scatter` and
//! `lollipops`.

mod against;
mod certainty;
pub(crate) mod chart;
pub(crate) mod curves;
pub(crate) mod description;
mod figure_data;
pub(crate) mod figures;
pub(crate) mod labels;
mod lollipops;
pub(crate) mod markup;
pub(crate) mod matching;
mod nan_as_null;
mod price;
mod rate_search;
pub mod report;
mod report_facts;
mod report_price;
mod report_table;
pub mod results;
pub(crate) mod running;
pub(crate) mod scale;
mod scatter;
mod series;
pub mod statistics;
pub mod table;
pub(crate) mod table_text;
pub mod verdict;

#[cfg(test)]
mod synthetic;
