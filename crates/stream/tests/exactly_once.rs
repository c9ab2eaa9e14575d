//! The log and the fold on a real PostgreSQL: nothing lost, nothing twice, whatever stops in between and whoever else
//! folds the same shard.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use anyhow::{Context, Result};
use calendar::{Instant, Periods};
use ids::{AccountId, ResourceUid};
use metering::{
    GapPolicy, MeterKind, MeterName, MeterRule, Part, Reading, Record, RegistryEntry, Sample,
    SeriesHash, ShardNumber, Subscription,
};
use money::Quantity;
use std::collections::BTreeSet;
use store::window::{WindowFilter, WindowRow};
use stream::{Flush, FoldError, Folder, LinesDue, LogError, PostgresLog, Progress, UsageLog};
use testkit::database::{self, Database};
use uuid::Uuid;

const TENANT: AccountId = AccountId(Uuid::from_u128(0x6f1c_4c1e));
const MACHINE: ResourceUid = ResourceUid(Uuid::from_u128(7));

async fn ready() -> Result<(Database, PostgresLog)> {
    let database = database::create().await?;
    store::migrate(&database.pool).await?;
    store::migrate(&database.pool).await.context("migrations run twice")?;
    let log = PostgresLog::new(database.pool.clone());
    Ok((database, log))
}

fn at(second: i64) -> Instant {
    Instant::from_microseconds(1_767_225_600_000_000 + second * 1_000_000).unwrap()
}

/// Who the machine belongs to and how it is counted.
fn ground() -> Vec<Record> {
    vec![
        Record::Meter(MeterRule {
            name: MeterName::from("cpu"),
            kind: MeterKind::Counter,
            base_units_per_unit: 1_000_000,
            interval_microseconds: 15_000_000,
            base_units_per_second_max: None,
            gap_policy: GapPolicy::Hold,
            expected_of_kinds: BTreeSet::new(),
        }),
        Record::Registry(RegistryEntry {
            resource: MACHINE,
            tenant: TENANT,
            project: "shop".to_owned(),
            kind: "VirtualMachine".to_owned(),
            name: "web".to_owned(),
            created_at: at(0),
            valid_from: at(0),
            valid_to: None,
        }),
        Record::Subscription(Subscription {
            tenant: TENANT,
            id: Uuid::from_u128(9),
            plan: metering::PlanUid(Uuid::from_u128(11)),
            from: at(0),
            to: None,
            periods: Periods::utc(),
        }),
    ]
}

fn sample(second: i64, value: i128) -> Record {
    Record::Sample(Sample {
        resource: MACHINE,
        meter: MeterName::from("cpu"),
        part: Part::whole(),
        series: SeriesHash(1),
        replica: SeriesHash(0),
        at: at(second),
        reading: Reading::Value(Quantity(value)),
        started_at: None,
    })
}

/// Samples every 15 s over two and a half hours, a little uneven.
fn samples() -> Vec<Record> {
    (0..600)
        .map(|index: i64| sample(index * 15, i128::from(index) * 1_000_003 + i128::from(index % 7)))
        .collect()
}

fn shard() -> ShardNumber {
    ShardNumber::of(TENANT)
}

fn flush(records: Vec<Record>) -> Flush {
    [(shard(), records)].into()
}

async fn fold_all(folder: &mut Folder, log: &PostgresLog) -> Result<()> {
    while folder.epoch(log, |_| LinesDue::default()).await? != Progress::Idle {}
    Ok(())
}

async fn windows(database: &Database) -> Result<Vec<WindowRow>> {
    let mut connection = database.pool.acquire().await?;
    Ok(store::window::windows_of(&mut connection, TENANT.0, &WindowFilter::default()).await?)
}

fn total(rows: &[WindowRow]) -> Result<i128> {
    rows.iter().map(|row| row.quantity.parse::<i128>().context("not a number")).sum()
}

/// The quiet run: everything appended once, folded in one go.
async fn expected() -> Result<Vec<WindowRow>> {
    let (database, log) = ready().await?;
    log.append(flush(ground())).await?;
    log.append(flush(samples())).await?;
    let mut folder = Folder::claim(database.pool.clone(), shard()).await?;
    fold_all(&mut folder, &log).await?;
    let rows = windows(&database).await?;
    database.drop_now().await?;
    Ok(rows)
}

#[tokio::test]
async fn billed_is_the_difference_of_the_bounding_samples() -> Result<()> {
    let rows = expected().await?;
    // The counter was born after the machine, so it counts from zero: the whole last value.
    let last = 599 * 1_000_003 + 599 % 7;
    assert_eq!(total(&rows)?, last, "{rows:?}");
    assert_eq!(rows.len(), 3, "two and a half hours touch three windows");
    Ok(())
}

#[tokio::test]
async fn entries_are_in_order_without_holes_for_any_number_of_writers() -> Result<()> {
    let (database, log) = ready().await?;
    let writers: Vec<_> = (0..64)
        .map(|index| {
            let log = log.clone();
            tokio::spawn(
                async move { log.append(flush(vec![sample(index, i128::from(index))])).await },
            )
        })
        .collect();
    for writer in writers {
        writer.await??;
    }
    let entries = log.read(shard(), 0, 1000).await?;
    let numbers: Vec<i64> = entries.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (0..i64::try_from(entries.len())?).collect::<Vec<_>>());
    let seen: BTreeSet<Instant> = entries
        .iter()
        .flat_map(|(_, records)| records)
        .filter_map(
            |record| if let Record::Sample(sample) = record { Some(sample.at) } else { None },
        )
        .collect();
    assert_eq!(seen.len(), 64, "every append is in the log");
    assert_eq!(log.read(shard(), numbers.len().try_into()?, 10).await?, []);
    database.drop_now().await
}

#[tokio::test]
async fn an_owner_that_was_replaced_commits_nothing() -> Result<()> {
    let (database, log) = ready().await?;
    log.append(flush(ground())).await?;
    log.append(flush(samples())).await?;
    let mut old = Folder::claim(database.pool.clone(), shard()).await?;
    let mut new = Folder::claim(database.pool.clone(), shard()).await?;
    let refused = old.epoch(&log, |_| LinesDue::default()).await;
    assert!(matches!(refused, Err(FoldError::Stale(_))), "{refused:?}");
    assert_eq!(windows(&database).await?, [], "the stale owner wrote");
    fold_all(&mut new, &log).await?;
    assert_eq!(windows(&database).await?, expected().await?);
    database.drop_now().await
}

#[tokio::test]
async fn crashes_repeats_and_cuts_leave_the_same_bytes() -> Result<()> {
    let (database, log) = ready().await?;
    log.append(flush(ground())).await?;
    // Every request arrives twice, in pieces of odd sizes, and after each piece the folder dies and another claims.
    let all = samples();
    for (index, piece) in all.chunks(17).enumerate() {
        log.append(flush(piece.to_vec())).await?;
        log.append(flush(piece.to_vec())).await?;
        let mut folder = Folder::claim(database.pool.clone(), shard()).await?;
        if index % 3 == 0 {
            // This one dies within its epoch: the future is dropped at its first wait, before any commit.
            let cut = tokio::time::timeout(
                std::time::Duration::ZERO,
                folder.epoch(&log, |_| LinesDue::default()),
            )
            .await;
            assert!(cut.is_err() || matches!(cut, Ok(Ok(_))), "{cut:?}");
            continue;
        }
        folder.epoch(&log, |_| LinesDue::default()).await?;
    }
    let mut last = Folder::claim(database.pool.clone(), shard()).await?;
    fold_all(&mut last, &log).await?;
    let (rows, quiet) = (windows(&database).await?, expected().await?);
    assert_eq!(rows, quiet);
    database.drop_now().await
}

#[tokio::test]
async fn what_is_not_folded_is_not_forgotten_and_a_hole_is_noticed() -> Result<()> {
    let (database, log) = ready().await?;
    log.append(flush(ground())).await?;
    log.append(flush(samples())).await?;
    assert!(!log.trim(shard(), 2).await?, "nothing is folded yet");
    assert_eq!(log.read(shard(), 0, 10).await?.len(), 2);
    let mut folder = Folder::claim(database.pool.clone(), shard()).await?;
    fold_all(&mut folder, &log).await?;
    assert!(log.trim(shard(), 1).await?);
    let hole = log.read(shard(), 0, 10).await;
    assert!(matches!(hole, Err(LogError::Hole { first: 1, from: 0, .. })), "{hole:?}");
    // The state outlives its log.
    let again = Folder::claim(database.pool.clone(), shard()).await?;
    assert_eq!(again.state().windows().count(), folder.state().windows().count());
    database.drop_now().await
}
