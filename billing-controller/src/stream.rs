//! The stream: from entries of the usage log to committed lines, as a timely dataflow.
//!
//! source → exchange by shard → fold → rate → commit → probe
//!
//! A worker owns the shards whose number modulo the count of workers is its own, claims them when it starts, and reads
//! them from where they stand. Timely routes batches to their owners and tells how far everything has come; what must
//! not be lost or doubled is decided by the database's compare-and-set alone.
//!
//! A shard whose own content is refused, by the database or by a decoder, is parked: the others go on, and it is claimed
//! anew from time to time. Any other failure ends all workers, and whoever starts next claims anew.

mod figures;
mod work;

pub use figures::StreamMetrics;

use crate::rating::{Catalogue, CatalogueError};
use metering::{Record, ShardNumber};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use store::PgPool;
use stream::{ENTRIES_MAX, FoldError, LogError, PostgresLog, UsageLog};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{Input, Probe};
use timely::dataflow::{InputHandle, ProbeHandle};
use timely::worker::Worker;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use work::Owned;

/// How long a worker without work waits before it looks whether others have appended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The most workers: one for each shard.
pub const WORKERS_MAX: usize = metering::SHARD_COUNT as usize;

/// Why the stream ended.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A shard could not be folded.
    #[error("stream")]
    Fold(#[from] FoldError),
    /// The log could not be read.
    #[error("stream")]
    Log(#[from] LogError),
    /// Price versions could not be read.
    #[error("stream")]
    Catalogue(#[from] CatalogueError),
    /// The database could not be reached.
    #[error("stream")]
    Store(#[from] store::Error),
    /// Timely could not start or lost a worker.
    #[error("stream: {0}")]
    Engine(String),
}

impl StreamError {
    /// Whether another process has claimed a shard.
    pub fn is_stale(&self) -> bool {
        matches!(self, Self::Fold(FoldError::Stale(_)))
    }

    /// Whether what one shard holds is at fault, so that the others can go on.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Fold(error) => error.is_refusal(),
            Self::Log(error) => error.is_refusal(),
            Self::Catalogue(error) => error.is_refusal(),
            Self::Store(error) => error.is_refusal(),
            Self::Engine(_) => false,
        }
    }
}

/// What the workers share.
#[derive(Clone)]
pub struct Stream {
    /// Connections.
    pub pool: PgPool,
    /// The usage log.
    pub log: PostgresLog,
    /// Figures for Prometheus.
    pub metrics: StreamMetrics,
    /// Ends the workers.
    pub stop: CancellationToken,
}

/// Entries of one shard on their way to its owner. Without entries: write what is dirty.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Batch {
    shard: ShardNumber,
    entries: Vec<(i64, Vec<Record>)>,
}

/// What has to be done for one shard next; the work itself lies with its owner.
type Token = ShardNumber;

/// Runs `workers` (1 to 64) workers on threads of their own until the token is cancelled or one of them fails. Blocks;
/// `runtime` carries their requests to the database.
///
/// # Errors
/// The first failure.
pub fn run(stream: &Stream, workers: usize, runtime: &Handle) -> Result<(), StreamError> {
    let config = if workers <= 1 {
        timely::Config::thread()
    } else {
        timely::Config::process(workers.min(WORKERS_MAX))
    };
    let (shared, runtime) = (stream.clone(), runtime.clone());
    let guards = timely::execute(config, move |worker| {
        // Whatever ended one, a panic too, ends the others: half a stream must not look alive.
        let _ends_all = shared.stop.clone().drop_guard();
        work_shards(worker, &shared, &runtime)
    })
    .map_err(StreamError::Engine)?;
    let mut failure = None;
    for result in guards.join() {
        if let Err(error) = result.unwrap_or_else(|lost| Err(StreamError::Engine(lost))) {
            failure.get_or_insert(error);
        }
    }
    failure.map_or(Ok(()), Err)
}

/// One worker's life.
fn work_shards(worker: &mut Worker, stream: &Stream, runtime: &Handle) -> Result<(), StreamError> {
    let (index, peers) = (worker.index(), worker.peers());
    let own: Vec<ShardNumber> =
        ShardNumber::all().filter(|shard| usize::from(shard.number()) % peers == index).collect();
    let owned = Rc::new(RefCell::new(runtime.block_on(Owned::claim(stream, &own))?));
    stream.metrics.parked(index, owned.borrow().parked_count());
    let failure: Rc<RefCell<Option<StreamError>>> = Rc::default();
    let (mut input, probe) = dataflow(worker, stream, runtime, &owned, &failure);
    let mut news = stream.log.news();
    let mut epoch = 0_u64;
    while !stream.stop.is_cancelled() {
        news.mark_unchanged();
        runtime.block_on(owned.borrow_mut().claim_parked(stream))?;
        let (batches, unreadable) = runtime.block_on(read(stream, &owned))?;
        for (shard, error) in unreadable {
            runtime.block_on(owned.borrow_mut().park(shard, error.into(), stream))?;
        }
        let is_idle = batches.is_empty();
        for batch in batches {
            input.send(batch);
        }
        epoch = epoch.wrapping_add(1);
        input.advance_to(epoch);
        input.flush();
        // Batches go to their owner, which is this worker, so its own steps carry them through; peers need not be waited
        // for. The probe is what tells an operator of the program how far all of them have come.
        while owned.borrow().is_waiting() && failure.borrow().is_none() {
            worker.step();
        }
        worker.step();
        if let Some(error) = failure.borrow_mut().take() {
            return Err(error);
        }
        stream.metrics.behind(index, probe.less_than(input.time()));
        stream.metrics.parked(index, owned.borrow().parked_count());
        if is_idle {
            runtime.block_on(wait(&mut news, &stream.stop));
        }
    }
    Ok(())
}

async fn wait(news: &mut watch::Receiver<u64>, stop: &CancellationToken) {
    tokio::select! {
        _ = news.changed() => {}
        () = tokio::time::sleep(LOOK_EVERY) => {}
        () = stop.cancelled() => {}
    }
}

/// What was read, and the shards whose entries cannot be.
type Read = (Vec<Batch>, Vec<(ShardNumber, LogError)>);

/// What the log holds beyond the owned shards' positions, and an empty batch for each shard with lines to be written.
async fn read(stream: &Stream, owned: &RefCell<Owned>) -> Result<Read, StreamError> {
    let acquire = |source| store::Error::Database { act: "look at the usage log", source };
    let heads = {
        let mut connection = stream.pool.acquire().await.map_err(acquire)?;
        store::log::log_heads(&mut connection).await?
    };
    let positions = owned.borrow().positions();
    let (mut batches, mut unreadable) = (Vec::new(), Vec::new());
    for (shard, next_seq, is_dirty) in positions {
        let head = heads.get(usize::from(shard.number())).copied().unwrap_or(0);
        if head > next_seq {
            match stream.log.read(shard, next_seq, ENTRIES_MAX).await {
                Ok(entries) => batches.push(Batch { shard, entries }),
                Err(error) => unreadable.push((shard, error)),
            }
        } else if is_dirty {
            batches.push(Batch { shard, entries: Vec::new() });
        }
    }
    owned.borrow_mut().expect(batches.iter().map(|batch| batch.shard));
    Ok((batches, unreadable))
}

type Source = InputHandle<u64, CapacityContainerBuilder<Vec<Batch>>>;

fn dataflow(
    worker: &mut Worker,
    stream: &Stream,
    runtime: &Handle,
    owned: &Rc<RefCell<Owned>>,
    failure: &Rc<RefCell<Option<StreamError>>>,
) -> (Source, ProbeHandle<u64>) {
    let mut input = Source::new();
    let probe = ProbeHandle::new();
    let route = Exchange::new(|batch: &Batch| u64::from(batch.shard.number()));
    worker.dataflow::<u64, _, _>(|scope| {
        let folding = Rc::clone(owned);
        let rating = (Rc::clone(owned), Rc::clone(failure), stream.clone(), runtime.clone());
        let committing = (Rc::clone(owned), Rc::clone(failure), stream.clone(), runtime.clone());
        scope
            .input_from(&mut input)
            .unary(route, "fold", move |_, _| {
                move |input, output| {
                    input.for_each_stamp(|time, data| {
                        let batches = data.flat_map(|container| container.drain(..));
                        let tokens = batches.map(|batch| {
                            folding.borrow_mut().fold(batch.shard, &batch.entries);
                            batch.shard
                        });
                        let tokens: Vec<Token> = tokens.collect();
                        output.session(&time).give_iterator(tokens.into_iter());
                    });
                }
            })
            .container::<Vec<Token>>()
            .unary(Pipeline, "rate", move |_, _| {
                let (owned, failure, stream, runtime) = rating;
                let mut catalogue = Catalogue::default();
                move |input, output| {
                    input.for_each_stamp(|time, data| {
                        let tokens: Vec<Token> =
                            data.flat_map(|container| container.drain(..)).collect();
                        for shard in &tokens {
                            let mut owned = owned.borrow_mut();
                            let rated =
                                runtime.block_on(owned.rate(*shard, &stream, &mut catalogue));
                            if let Err(error) = rated {
                                failure.borrow_mut().get_or_insert(error);
                            }
                        }
                        output.session(&time).give_iterator(tokens.into_iter());
                    });
                }
            })
            .container::<Vec<Token>>()
            .unary(Pipeline, "commit", move |_, _| {
                let (owned, failure, stream, runtime) = committing;
                move |input, output| {
                    input.for_each_stamp(|time, data| {
                        let tokens: Vec<Token> =
                            data.flat_map(|container| container.drain(..)).collect();
                        // After a failure nothing more may be committed.
                        if failure.borrow().is_some() {
                            return;
                        }
                        let mut owned = owned.borrow_mut();
                        if let Err(error) = runtime.block_on(owned.commit(&tokens, &stream)) {
                            failure.borrow_mut().get_or_insert(error);
                        }
                        output.session(&time).give_iterator(tokens.into_iter());
                    });
                }
            })
            .container::<Vec<Token>>()
            .probe_with(&probe);
    });
    (input, probe)
}
