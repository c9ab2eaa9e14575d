//! `kubectl freehold network`: the network as it is booked, read from the Kubernetes API.
//!
//! Nothing here writes, except for `import`. What people may see is what their kubeconfig lets them list.

mod audit;
mod bar;
mod explain;
mod export;
mod import;
mod names;
mod reader;
mod tree;
mod tree_text;
mod vlans;

use crate::failure::{EXIT_UNWELL, Failure};
use crate::output::{self, Format};
use crate::server::ClusterArguments;
use bar::Characters;
use reader::Reader;
use std::process::ExitCode;

/// What to look at.
#[derive(Debug, clap::Subcommand)]
pub enum Act {
    /// Spaces, prefixes, pools and blocks as a tree, with how full and how fragmented each is.
    Tree {
        /// Only this address space.
        #[arg(long, value_name = "NAME")]
        space: Option<String>,
        /// Draw with ASCII alone, as is done when the output is no terminal.
        #[arg(long)]
        ascii: bool,
        #[command(flatten)]
        how: How,
    },
    /// Why an `IPClaim` has its address, or why it has none and what would help.
    Explain {
        /// The `IPClaim`'s name.
        claim: String,
        /// The namespace it is in.
        #[arg(long, short, value_name = "NAME")]
        namespace: String,
        #[command(flatten)]
        how: How,
    },
    /// Count everything again and compare; exit code 4 when something differs.
    Audit {
        /// What differs is looked at again after this time, since objects change while they are read.
        #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3600))]
        confirm_after_seconds: u64,
        #[command(flatten)]
        how: How,
    },
    /// Bring prefixes, addresses and `VLANs` in that are in use already: all of a file or none.
    Import(import::Import),
    /// Write prefixes, addresses and `VLANs` as `import` reads them.
    Export(export::Export),
    /// One trunk for each fabric and zone, for switches: ids, who has them, what they reach.
    Vlans {
        #[command(flatten)]
        how: How,
    },
}

/// Where to ask and how to print.
#[derive(Debug, clap::Args)]
pub struct How {
    /// How to print the result.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// Looks.
pub async fn perform(act: Act) -> Result<(String, ExitCode), Failure> {
    let text = match act {
        Act::Tree { space, ascii, how } => {
            let reader = Reader::find(&how.cluster).await?;
            let report = tree::tree(&reader, space.as_deref()).await?;
            let characters = Characters::for_output(ascii);
            output::print(how.output, &report, |report| tree_text::text(report, characters))?
        }
        Act::Explain { claim, namespace, how } => {
            let reader = Reader::find(&how.cluster).await?;
            let report = explain::explain(&reader, &namespace, &claim).await?;
            output::print(how.output, &report, explain::text)?
        }
        Act::Audit { confirm_after_seconds, how } => {
            let reader = Reader::find(&how.cluster).await?;
            let report = audit::audit(&reader, confirm_after_seconds).await?;
            let code = if report.matches() { 0 } else { EXIT_UNWELL };
            let text = output::print(how.output, &report, audit::text)?;
            return Ok((text, ExitCode::from(code)));
        }
        Act::Import(arguments) => return import::import(arguments).await,
        Act::Export(arguments) => export::export(&arguments).await?,
        Act::Vlans { how } => {
            let reader = Reader::find(&how.cluster).await?;
            let report = vlans::vlans(&reader).await?;
            output::print(how.output, &report, vlans::text)?
        }
    };
    Ok((text, ExitCode::SUCCESS))
}
