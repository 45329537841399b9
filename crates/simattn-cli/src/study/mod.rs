//! A study: language models that differ only in their attention, trained side by side.
//!
//! [`results`] is what a study measured; `figures` computes from it what readers compare
//! (perplexity, bits per byte, steps to the baseline's loss), `price` what it costs, and
//! [`statistics`] which differences may be chance. [`table`], `against` and [`verdict`] say it in a
//! terminal, [`report`] on a page: `curves` come drawn by `chart`, the price by `scatter` and
//! `lollipops`.
//!
//! A study is a `folder` with a `plan`. `running` makes the runs that the plan has and the folder
//! does not, `step_timing` times steps, `pace` estimates how long the rest takes, `gathering` puts
//! the results of finished runs together, and `merging` joins studies of several machines. [`collection`] makes a
//! page from the results of many studies.

mod against;
mod as_toml;
mod certainty;
pub(crate) mod chart;
pub mod collection;
pub(crate) mod curves;
pub(crate) mod description;
mod equal;
pub(crate) mod error;
mod figure_data;
pub(crate) mod figures;
pub(crate) mod folder;
mod gathering;
pub(crate) mod labels;
mod lollipops;
pub(crate) mod markup;
pub(crate) mod matching;
pub(crate) mod merging;
mod nan_as_null;
mod pace;
pub(crate) mod plan;
mod price;
mod rate_search;
pub mod report;
mod report_facts;
mod report_price;
mod report_rates;
mod report_table;
pub mod results;
pub(crate) mod running;
pub(crate) mod scale;
mod scatter;
mod series;
pub(crate) mod setting;
pub mod statistics;
pub(crate) mod step_cost;
mod step_timing;
pub mod table;
mod table_markdown;
pub(crate) mod table_text;
pub mod verdict;

#[cfg(test)]
mod synthetic;
