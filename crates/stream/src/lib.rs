//! The usage log, and folding it exactly once.
//!
//! Everything that can change a line goes through the log ([`UsageLog`]), durable before the sender hears of it. Each of
//! the 64 shards is folded in epochs ([`Folder`]): position, what the fold remembers, and the windows it changed commit
//! in one transaction, whose first statement moves the position on for the present owner only. A crash before the
//! commit leaves nothing, a crash after it everything, and a stale owner commits nothing.

mod fold;
mod log;
mod postgres;
mod rows;

pub use fold::{ENTRIES_MAX, FoldError, Folded, Folder, LinesDue, Progress};
pub use log::{Flush, LogError, UsageLog};
pub use postgres::PostgresLog;
