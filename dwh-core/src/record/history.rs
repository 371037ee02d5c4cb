//! The run log of many days, summed up.

use serde::{Deserialize, Serialize};

use crate::watermark::Timestamp;

/// What was asked for, in the order in which it was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct History {
    /// One entry a day.
    pub days: Vec<DayHistory>,
    /// One entry a table.
    pub tables: Vec<TableHistory>,
}

/// The runs that ended on a day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct DayHistory {
    /// When the day begins.
    pub begins: Timestamp,
    /// Its runs, of all tables.
    #[serde(flatten)]
    pub runs: RunSums,
}

/// The runs of a table that ended in these days, and how much room it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct TableHistory {
    /// The table's name in the configuration.
    pub table: String,
    /// Its runs.
    #[serde(flatten)]
    pub runs: RunSums,
    /// Bytes of the bronze table with its indexes, partitions and large values; `null` if there is none.
    pub bronze_bytes: Option<u64>,
}

/// Runs, summed up.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "testing"), non_exhaustive)]
pub struct RunSums {
    /// How many were loaded.
    pub loaded: u64,
    /// How many failed, but for those that somebody stopped.
    pub failed: u64,
    /// Rows that were inserted or updated in bronze.
    pub rows: u64,
    /// Bytes of the CSV files that were loaded, uncompressed.
    pub bytes: u64,
    /// How long half of those that were loaded took at most; `null` if there was none.
    pub median_seconds: Option<f64>,
    /// How long the longest of them took.
    pub longest_seconds: Option<f64>,
}
