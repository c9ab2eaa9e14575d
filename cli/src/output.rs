//! Results as a table for people, or as JSON or YAML for programs.

use crate::Failure;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

/// The value in the form asked for; `table` is called only for [`Format::Table`].
pub fn print<T: Serialize>(
    format: Format,
    value: &T,
    table: impl FnOnce(&T) -> Table,
) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Write(error.to_string());
    match format {
        Format::Table => Ok(format!("{}\n", table(value))),
        Format::Json => serde_json::to_string_pretty(value)
            .map(|text| text + "\n")
            .map_err(|error| failed(&error)),
        Format::Yaml => serde_yaml::to_string(value).map_err(|error| failed(&error)),
    }
}

/// An empty table with these headings; those listed in `right` are aligned to the right.
pub fn table(headings: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for index in right {
        if let Some(column) = table.column_mut(*index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}
