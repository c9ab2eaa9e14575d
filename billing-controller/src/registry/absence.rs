//! What is gone without having said so: accounts without a tenant, machines that left no last transition.
//!
//! Everything that should be there is looked for now and then, also what went while this program was away. What is missed
//! ended when all was last known to be there: nobody pays for time that nobody can vouch for. A cache may lag or leave out
//! an object that it cannot read, so the API server itself is asked before a life is ended.

use super::announce::Audience;
use super::machine::KIND;
use super::{World, account};
use calendar::Instant;
use crds::{Tenant, VirtualMachine};
use ids::{AccountId, ResourceUid};
use kube::api::{Api, ListParams, PartialObjectMeta};
use kube::{Resource, ResourceExt};
use metering::{Record, RegistryEntry};
use operator_kit::ErrorChain;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use store::registry::ResourceRow;
use store::{PgConnection, Uuid};
use tokio_util::sync::CancellationToken;

/// How often everything is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Objects of a page of a list.
const PAGE_SIZE: u32 = 500;

/// Why a look failed; the next one sees the same.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("look for what is gone")]
    Store(#[from] store::Error),
    #[error("look for what is gone")]
    List(#[from] kube::Error),
    #[error("end what is gone")]
    Announce(#[from] super::AnnounceError),
    #[error("end what is gone")]
    Account(#[from] account::Error),
}

/// Looks again and again until `stop`; only while leading, with caches that are full.
pub async fn watch(world: Arc<World>, stop: CancellationToken) {
    let mut interval = tokio::time::interval(LOOK_EVERY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        if let Err(error) = look(&world).await {
            tracing::warn!(error = %ErrorChain(&error), "what is gone could not be looked for, trying again");
        }
    }
}

async fn look(world: &World) -> Result<(), Error> {
    let acquire = |source| store::Error::Database { act: "look for what is gone", source };
    let mut connection = world.pool.acquire().await.map_err(acquire)?;
    let now = Instant::from_timestamp(world.clock.now());
    let seen = store::registry::watch_seen(&mut connection).await?;
    let seen = seen.and_then(|at| Instant::from_microseconds(at).ok()).unwrap_or(now);
    machines(world, &mut connection, seen).await?;
    accounts(world, &mut connection, seen).await?;
    store::registry::watch_saw(&mut connection, now.microseconds()).await?;
    Ok(())
}

async fn machines(
    world: &World,
    connection: &mut PgConnection,
    seen: Instant,
) -> Result<(), Error> {
    let open = store::registry::resources_open(connection, KIND).await?;
    let cached: BTreeSet<Uuid> =
        world.machines.store().state().iter().filter_map(|machine| uid(machine.as_ref())).collect();
    let missed: Vec<ResourceRow> =
        open.into_iter().filter(|row| !cached.contains(&row.resource_uid)).collect();
    if missed.is_empty() {
        return Ok(());
    }
    let there = there::<VirtualMachine>(&world.client).await?;
    for row in missed.into_iter().filter(|row| !there.contains(&row.resource_uid)) {
        end_machine(world, connection, row, seen).await?;
    }
    Ok(())
}

async fn end_machine(
    world: &World,
    connection: &mut PgConnection,
    row: ResourceRow,
    seen: Instant,
) -> Result<(), Error> {
    let instant = |at| Instant::from_microseconds(at).unwrap_or(Instant::EPOCH);
    let (tenant, resource) = (AccountId(row.tenant), ResourceUid(row.resource_uid));
    let at = seen.max(instant(row.valid_from_microseconds));
    tracing::warn!(machine = %row.name, %resource, %at, "a machine is gone without an end of its record; it is billed until it was last seen");
    let entry = RegistryEntry {
        resource,
        tenant,
        project: row.project.clone(),
        kind: row.kind.clone(),
        name: row.name.clone(),
        created_at: instant(row.created_at_microseconds),
        valid_from: instant(row.valid_from_microseconds),
        valid_to: Some(at),
    };
    // The log before the row: after a crash in between it is said again, which changes nothing.
    world
        .announcer
        .append(Audience::Account(tenant), vec![Record::Vanished { resource, at }])
        .await?;
    world
        .announcer
        .append(Audience::Resource(tenant, resource), vec![Record::Registry(entry)])
        .await?;
    let ended = ResourceRow { valid_to_microseconds: Some(at.microseconds()), ..row };
    store::registry::resource_put(connection, &ended).await?;
    Ok(())
}

async fn accounts(
    world: &World,
    connection: &mut PgConnection,
    seen: Instant,
) -> Result<(), Error> {
    let known = |tenants: &[Arc<Tenant>]| -> BTreeSet<Uuid> {
        tenants.iter().filter_map(|tenant| tenant.account_id()?.parse().ok()).collect()
    };
    let cached = known(&world.tenants.store().state());
    let open = store::registry::accounts_open(connection).await?;
    let missed: Vec<Uuid> = open.into_iter().filter(|account| !cached.contains(account)).collect();
    if missed.is_empty() {
        return Ok(());
    }
    // An account may be carried on by another object, so here it is not the UID alone that counts.
    let api: Api<Tenant> = Api::all(world.client.clone());
    let there = known(
        &api.list(&ListParams::default())
            .await?
            .items
            .into_iter()
            .map(Arc::new)
            .collect::<Vec<_>>(),
    );
    for account in missed.into_iter().filter(|account| !there.contains(account)) {
        let last = store::registry::resources_of(connection, account).await?;
        let last = last.iter().filter_map(|row| row.valid_to_microseconds).max();
        let at = last.map_or(seen.microseconds(), |last| last.max(seen.microseconds()));
        tracing::info!(%account, "the tenant of an account is gone; its subscription ends");
        for mut row in store::registry::subscriptions_of(connection, account).await? {
            row.to_microseconds.get_or_insert(at.max(row.from_microseconds));
            account::announce(world, AccountId(account), &row).await?;
        }
        store::registry::account_gone(connection, account, at).await?;
    }
    Ok(())
}

fn uid<K: Resource<DynamicType = ()>>(object: &K) -> Option<Uuid> {
    object.uid()?.parse().ok()
}

/// The UIDs of all objects of a kind, by the API server's own word.
async fn there<K>(client: &kube::Client) -> Result<BTreeSet<Uuid>, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::all(client.clone());
    let mut uids = BTreeSet::new();
    let mut parameters = ListParams::default().limit(PAGE_SIZE);
    loop {
        let page = api.list_metadata(&parameters).await?;
        uids.extend(
            page.items
                .iter()
                .filter_map(|one: &PartialObjectMeta<K>| one.uid()?.parse::<Uuid>().ok()),
        );
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(uids),
        }
    }
}
