//! `network import`: prefixes, addresses and VLANs that are in use already, all of a file or none.
//!
//! First everything is judged: each value by `ipam`, each row beside the others and beside what is there, and each object by
//! a dry run of its create. Only when nothing is refused is anything created; what a run has created it takes back when a
//! later create fails.

mod file;
mod plan;
mod write;

use super::How;
use super::reader::Reader;
use crate::failure::Failure;
use crate::output::{self, plain};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The form of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FileForm {
    /// A row per object (docs/command-line.md).
    Csv,
    /// JSON in the shape of `NetBox`' REST lists of prefixes, ip-addresses and vlans.
    Netbox,
}

/// What to import.
#[derive(Debug, clap::Args)]
pub struct Import {
    /// The file.
    file: PathBuf,
    /// Its form.
    #[arg(long, value_enum, default_value_t = FileForm::Csv)]
    format: FileForm,
    /// Judge everything and create nothing.
    #[arg(long)]
    dry_run: bool,
    /// The address space of rows that name none.
    #[arg(long, value_name = "NAME")]
    space: Option<String>,
    /// The namespace of addresses and VLANs that name none.
    #[arg(long, short, value_name = "NAME")]
    namespace: Option<String>,
    #[command(flatten)]
    how: How,
}

/// What becomes of a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportReport {
    pub dry_run: bool,
    pub rows: Vec<Row>,
}

/// What becomes of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// `line 3`, or `prefixes[0]`.
    pub place: String,
    /// The object, or the value that is none.
    pub object: String,
    pub verdict: Verdict,
    /// Why, with the field, its value and what to do.
    pub why: String,
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// Was created, or would be.
    Create,
    /// Is there already, as the row says.
    There,
    /// Cannot be.
    Refused,
}

/// The columns of CSV.
pub const fn columns() -> &'static [&'static str] {
    &file::COLUMNS
}

/// Judges, and creates unless it is a dry run.
pub async fn import(arguments: Import) -> Result<(String, ExitCode), Failure> {
    let text = crate::read(&arguments.file)?;
    let defaults =
        file::Defaults { space: arguments.space.clone(), namespace: arguments.namespace.clone() };
    let read = match arguments.format {
        FileForm::Csv => file::csv(&text, &defaults),
        FileForm::Netbox => file::netbox(&text, &defaults),
    };
    let wishes = read.map_err(|why| named(&arguments.file, why))?;
    let reader = Reader::find(&arguments.how.cluster).await?;
    let mut steps = plan::plan(wishes, &plan::Scene::read(&reader).await?);
    write::try_all(&reader, &mut steps).await?;
    let refused = steps.iter().any(|step| step.row.verdict == Verdict::Refused);
    if !refused && !arguments.dry_run {
        write::create_all(&reader, &steps).await?;
    }
    steps.sort_by_key(|step| step.order);
    let rows = steps.into_iter().map(|step| step.row).collect();
    let report = ImportReport { dry_run: arguments.dry_run, rows };
    let text = output::print(arguments.how.output, &report, self::text)?;
    Ok((text, ExitCode::from(if refused { 3 } else { 0 })))
}

fn named(path: &Path, why: String) -> Failure {
    Failure::refused(format!("{}: {why}", path.display()))
}

/// The report for people.
fn text(report: &ImportReport) -> String {
    let count = |verdict| report.rows.iter().filter(|row| row.verdict == verdict).count();
    let refused = count(Verdict::Refused);
    let done = !report.dry_run && refused == 0;
    let mut table = output::table(&["where", "object", "", "why"], &[]);
    for row in &report.rows {
        let verdict = match row.verdict {
            Verdict::Create if done => "created",
            Verdict::Create => "would be created",
            Verdict::There => "is there",
            Verdict::Refused => "REFUSED",
        };
        table.add_row([&plain(&row.place), &plain(&row.object), verdict, &plain(&row.why)]);
    }
    let create = count(Verdict::Create);
    let there = count(Verdict::There);
    let sum = if refused > 0 {
        format!("{refused} refused, so nothing was created; {create} would be, {there} are there")
    } else if done {
        format!("{create} created, {there} were there")
    } else {
        format!("{create} would be created, {there} are there; nothing was created")
    };
    format!("{table}\n{sum}\n")
}
