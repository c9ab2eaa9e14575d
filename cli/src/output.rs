//! Results as text for people, or as JSON or YAML for programs.

use crate::failure::Failure;
use comfy_table::{CellAlignment, Table, presets};
use money::Exact;
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

/// The value in the form asked for; `text` is called only for [`Format::Table`].
pub fn print<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::Write(error.to_string());
    match format {
        Format::Table => Ok(text(value)),
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

/// Foreign text without anything that a terminal would obey.
pub fn plain(text: &str) -> String {
    text.chars().map(|one| if one.is_control() { '\u{fffd}' } else { one }).collect()
}

/// A quantity with at most six places, for people; the exact one is in JSON and YAML.
pub fn readable(quantity: &str) -> String {
    exact(quantity).map_or_else(|| plain(quantity), |exact| exact.rounded_text(6))
}

/// A decimal or a fraction as the server writes them; `None` when it is neither, or too long for 128 bits.
pub fn exact(text: &str) -> Option<Exact> {
    let whole = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { text.parse::<i128>().ok() } else { None }
    };
    if let Some((numerator, denominator)) = text.split_once('/') {
        return Exact::ratio(whole(numerator)?, whole(denominator)?);
    }
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Exact::ratio(whole(&format!("{integer}{fraction}"))?, scale)
}

/// A line of a tree with what is below it.
#[derive(Debug, Default)]
pub struct Branch {
    text: String,
    below: Vec<Branch>,
}

impl Branch {
    /// A line with nothing below it yet.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), below: Vec::new() }
    }

    /// Puts a line below this one.
    pub fn add(&mut self, below: impl Into<Self>) {
        self.below.push(below.into());
    }

    /// The tree as lines.
    pub fn lines(&self) -> String {
        let mut lines = format!("{}\n", self.text);
        self.write_below("", &mut lines);
        lines
    }

    fn write_below(&self, indent: &str, lines: &mut String) {
        for (index, branch) in self.below.iter().enumerate() {
            let is_last = index.saturating_add(1) == self.below.len();
            let (knot, stem) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            lines.extend([indent, knot, &branch.text, "\n"]);
            branch.write_below(&format!("{indent}{stem}"), lines);
        }
    }
}

impl From<String> for Branch {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_rounded() {
        let cases = [
            ("48.25", "48.25"),
            ("1/3", "0.333333"),
            ("-2/3", "-0.666667"),
            ("0", "0"),
            ("-0.5", "-0.5"),
            ("1.0000005", "1.000001"),
            // What is no number is shown as it is, without what a terminal would obey.
            ("many\u{1b}[31m", "many\u{fffd}[31m"),
            ("1/0", "1/0"),
            (".", "."),
        ];
        for (text, expected) in cases {
            assert_eq!(readable(text), expected, "{text}");
        }
    }
}
