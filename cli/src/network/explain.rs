//! `network explain`: why a claim has this address, or why it has none and what would help.
//!
//! The operator's own words in the claim's status are the answer; around them stands what they rest on. A tenant may see
//! less than an operator: what may not be listed is said, and the rest is explained all the same.

use super::names::{Accounts, State, number};
use super::reader::Reader;
use crate::failure::Failure;
use crate::output::{Branch, plain};
use crds::Tenant;
use crds::network::{
    ClaimPhase, ClaimedAddress, IPBlock, IPClaim, IPPool, PassedOver, PoolStrategy, Slot, SlotState,
};
use ipam::address::{Address, BlockId};
use jiff::Timestamp;
use kube::ResourceExt;
use network_objects::block::block_name;
use serde::Serialize;
use std::cmp::Reverse;

/// Waiting claims that are listed in the text; JSON and YAML have all.
const WAITING_SHOWN: usize = 5;

/// A claim, explained.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClaimReport {
    /// `namespace/name`.
    pub claim: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<ClaimPhase>,
    #[serde(flatten)]
    pub state: State,
    /// Since when it is like this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What it asks for, in words.
    pub wants: String,
    pub addresses: Vec<Explained>,
    /// Who has the address that the claim names, while it has not got it itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub named: Option<String>,
    /// The rule that chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed_over: Vec<PassedOver>,
    /// Pools that it may be served from, in the order of asking.
    pub pools: Vec<Candidate>,
    /// Older claims that wait for the same pools, the oldest first.
    pub waits_before: Vec<Waiter>,
    pub would_help: Vec<String>,
    /// What could not be looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unseen: Vec<String>,
}

/// An address of the claim with its slot.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explained {
    #[serde(flatten)]
    pub told: ClaimedAddress,
    /// What the block says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booked: Option<String>,
}

/// A pool that the claim names or selects.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    pub name: String,
    pub priority: i64,
    pub strategy: PoolStrategy,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantined: Option<String>,
    /// When the first address that rests is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_free_at: Option<Timestamp>,
    /// A constant word: `Taken`, `HasRoom`, `TooFull`, `Disabled`, `NotOpen` or `NotReady`.
    pub judged: &'static str,
    pub why: String,
}

/// A claim that waits.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiter {
    pub claim: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    pub count: i64,
    pub reason: String,
}

/// Reads what there is to see.
pub async fn explain(reader: &Reader, namespace: &str, name: &str) -> Result<ClaimReport, Failure> {
    let Some(claim) = reader.get::<IPClaim>(namespace, name).await? else {
        return Err(Failure::refused(format!(
            "IPClaim {name}: there is none in namespace {namespace}; kubectl get ipclaims -A lists them"
        )));
    };
    let mut unseen = Vec::new();
    let pools = seen(reader.list_if_allowed::<IPPool>().await?, &mut unseen);
    let blocks = seen(reader.list_if_allowed::<IPBlock>().await?, &mut unseen);
    let claims = seen(reader.list_if_allowed::<IPClaim>().await?, &mut unseen);
    let accounts = Accounts::of(reader.list_if_allowed::<Tenant>().await?);
    let tenant = reader.tenant_of(namespace).await?;
    let scene = Scene { claim: &claim, pools, blocks, claims, accounts, tenant };
    Ok(scene.report(unseen))
}

fn seen<K>(list: Result<Vec<K>, String>, unseen: &mut Vec<String>) -> Vec<K> {
    list.unwrap_or_else(|why| {
        unseen.push(why);
        Vec::new()
    })
}

struct Scene<'a> {
    claim: &'a IPClaim,
    pools: Vec<IPPool>,
    blocks: Vec<IPBlock>,
    claims: Vec<IPClaim>,
    accounts: Accounts,
    /// Of the claim's namespace, where that may be seen.
    tenant: Option<String>,
}

impl Scene<'_> {
    fn report(&self, unseen: Vec<String>) -> ClaimReport {
        let status = self.claim.status.clone().unwrap_or_default();
        let state = State::of(self.claim.status.as_ref().map(|status| &status.conditions));
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let pools = self.candidates();
        let is_bound = status.phase == Some(ClaimPhase::Bound);
        let waits_before = if is_bound { Vec::new() } else { self.waits_before() };
        let would_help =
            if is_bound { Vec::new() } else { remedies(&state, &pools, &waits_before) };
        let addresses = status
            .addresses
            .iter()
            .map(|told| Explained { booked: self.booked(told), told: told.clone() });
        let explanation = status.explanation.clone();
        ClaimReport {
            claim: full_name(self.claim),
            phase: status.phase,
            since: ready.map(|ready| ready.last_transition_time.0),
            wants: wants(self.claim),
            addresses: addresses.collect(),
            named: if is_bound { None } else { self.named(&pools) },
            strategy: explanation.as_ref().map(|explanation| explanation.strategy.clone()),
            passed_over: explanation.map(|explanation| explanation.passed_over).unwrap_or_default(),
            state,
            pools,
            waits_before,
            would_help,
            unseen,
        }
    }

    /// Who has the address that the claim asks for by name.
    fn named(&self, candidates: &[Candidate]) -> Option<String> {
        let address: Address = self.claim.spec.address.as_ref()?.as_str().parse().ok()?;
        let (id, index) = BlockId::of(address);
        let is_meant = |pool: &&IPPool| candidates.iter().any(|one| one.name == pool.name_any());
        let pool = self.pools.iter().find(is_meant)?;
        let name = block_name(pool.status.as_ref()?.space.as_ref()?, id);
        let block = self.blocks.iter().find(|block| block.name_any() == name)?;
        let mut slots = block.status.iter().flat_map(|status| &status.slots);
        let slot = slots.find(|slot| slot.index == i64::from(index))?;
        match slot.state {
            SlotState::Held | SlotState::Allocated => Some(format!(
                "{address} is held by IPClaim {} since {}",
                slot.reference, slot.since.0
            )),
            SlotState::Quarantined => {
                let until = slot.until.as_ref().map(|until| format!(" until {}", until.0));
                let until = until.unwrap_or_default();
                Some(format!("{address} rests{until}; IPClaim {} had it", slot.reference))
            }
            SlotState::Released => None,
        }
    }

    /// What the block says of an address.
    fn booked(&self, told: &ClaimedAddress) -> Option<String> {
        let block = self.blocks.iter().find(|block| block.name_any() == told.block)?;
        let slots = block.status.iter().flat_map(|status| &status.slots);
        let slot = slots.into_iter().find(|slot| slot.index == told.index);
        let is_own = |slot: &&Slot| Some(&slot.uid) == self.claim.metadata.uid.as_ref();
        Some(match slot {
            Some(slot) if is_own(&slot) => format!(
                "{:?} to this claim since {}, for {}, number {}",
                slot.state,
                slot.since.0,
                self.accounts.name(&slot.tenant),
                slot.seq
            ),
            Some(slot) => {
                format!("{:?}, but for {} and not this claim", slot.state, slot.reference)
            }
            None => "nothing is booked there".to_owned(),
        })
    }

    /// In the order in which the operator asks them.
    fn candidates(&self) -> Vec<Candidate> {
        let mut pools: Vec<&IPPool> =
            self.pools.iter().filter(|pool| is_meant(self.claim, pool)).collect();
        pools
            .sort_by_cached_key(|pool| (Reverse(pool.spec.priority.unwrap_or(0)), pool.name_any()));
        pools.into_iter().map(|pool| self.candidate(pool)).collect()
    }

    fn candidate(&self, pool: &IPPool) -> Candidate {
        let status = pool.status.clone().unwrap_or_default();
        let (judged, why) = self.judge(pool);
        Candidate {
            name: pool.name_any(),
            priority: pool.spec.priority.unwrap_or(0),
            strategy: pool.spec.strategy.unwrap_or(PoolStrategy::Sequential),
            zone: status.zone,
            free: status.free,
            total: status.total,
            quarantined: status.quarantined.filter(|count| count != "0"),
            next_free_at: self.next_free_at(pool),
            judged,
            why,
        }
    }

    fn judge(&self, pool: &IPPool) -> (&'static str, String) {
        let name = pool.name_any();
        let status = self.claim.status.as_ref();
        let taken =
            status.is_some_and(|status| status.addresses.iter().any(|one| one.pool == name));
        if taken {
            return ("Taken", "the claim's addresses are from here".to_owned());
        }
        if let Some(tenant) = self.tenant.as_ref().filter(|tenant| !pool.spec.allows(tenant)) {
            return ("NotOpen", format!("spec.allowedTenants does not name {tenant}"));
        }
        if pool.spec.disabled == Some(true) {
            return ("Disabled", "spec.disabled is set".to_owned());
        }
        let state = State::of(pool.status.as_ref().map(|status| &status.conditions));
        if !state.ready {
            return ("NotReady", format!("{}: {}", state.reason, state.message));
        }
        let wanted = u128::try_from(self.claim.spec.count.unwrap_or(1)).unwrap_or(1);
        match number(pool.status.as_ref().and_then(|status| status.free.as_ref())) {
            Some(free) if free < wanted => ("TooFull", format!("{free} free, {wanted} wanted")),
            _ => ("HasRoom", "has free addresses".to_owned()),
        }
    }

    fn next_free_at(&self, pool: &IPPool) -> Option<Timestamp> {
        let slots = self.blocks.iter().flat_map(|block| &block.status).flat_map(|one| &one.slots);
        slots
            .filter(|slot| {
                slot.state == SlotState::Quarantined
                    && Some(&slot.pool) == pool.metadata.uid.as_ref()
            })
            .filter_map(|slot| slot.until.as_ref().map(|until| until.0))
            .min()
    }

    /// Who waits for an address by name is in the way of the same name only; who waits for room, of who does too.
    fn is_in_the_way(&self, other: &IPClaim) -> bool {
        let state = State::of(other.status.as_ref().map(|status| &status.conditions));
        let is_short =
            ["PoolExhausted", "KeptForOlder", "NotSeen"].contains(&state.reason.as_str());
        match &self.claim.spec.address {
            Some(address) => other.spec.address.as_ref() == Some(address),
            None => other.spec.address.is_none() && is_short,
        }
    }

    /// Claims that have nothing yet, want of a pool that this one may be served from, and came first.
    fn waits_before(&self) -> Vec<Waiter> {
        let mine: Vec<&IPPool> =
            self.pools.iter().filter(|pool| is_meant(self.claim, pool)).collect();
        let order = |claim: &IPClaim| {
            (claim.creation_timestamp().map(|time| time.0), claim.metadata.uid.clone())
        };
        let is_before = |other: &&IPClaim| {
            let phase = other.status.as_ref().and_then(|status| status.phase);
            phase != Some(ClaimPhase::Bound)
                && other.metadata.deletion_timestamp.is_none()
                && order(other) < order(self.claim)
                && self.is_in_the_way(other)
                && mine.iter().any(|pool| is_meant(other, pool))
        };
        let mut before: Vec<&IPClaim> = self.claims.iter().filter(is_before).collect();
        before.sort_by_cached_key(|claim| order(claim));
        let waiter = |claim: &IPClaim| Waiter {
            claim: full_name(claim),
            created: claim.creation_timestamp().map(|time| time.0),
            count: claim.spec.count.unwrap_or(1),
            reason: State::of(claim.status.as_ref().map(|status| &status.conditions)).reason,
        };
        before.into_iter().map(waiter).collect()
    }
}

/// Whether a claim names or selects a pool.
fn is_meant(claim: &IPClaim, pool: &IPPool) -> bool {
    let named = claim.spec.pool_ref.as_ref().map(|name| name.name == pool.name_any());
    let selector = claim.spec.pool_selector.as_ref();
    named.unwrap_or_else(|| selector.is_some_and(|selector| selector.matches(pool.labels())))
}

fn full_name(claim: &IPClaim) -> String {
    format!("{}/{}", claim.namespace().unwrap_or_default(), claim.name_any())
}

fn wants(claim: &IPClaim) -> String {
    let spec = &claim.spec;
    let mut words = vec![match (&spec.address, spec.count.unwrap_or(1)) {
        (Some(address), _) => format!("{address} and no other"),
        (None, 1) => "one address".to_owned(),
        (None, count) => format!("{count} addresses"),
    }];
    if !spec.families.is_empty() {
        let families: Vec<String> =
            spec.families.iter().map(|family| format!("{family:?}")).collect();
        words.push(format!("of {}", families.join(" and of ")));
    }
    match (&spec.pool_ref, &spec.pool_selector) {
        (Some(pool), _) => words.push(format!("from IPPool {}", pool.name)),
        (None, Some(selector)) => {
            let labels = selector.match_labels.iter();
            let labels: Vec<String> =
                labels.map(|(key, value)| format!("{key}={}", value.0)).collect();
            words.push(format!("from pools labelled {}", labels.join(",")));
        }
        (None, None) => {}
    }
    if let Some(key) = &spec.sticky_key {
        words.push(format!("(the one it had under stickyKey {key}, while that rests)"));
    }
    words.join(" ")
}

/// What would help, the nearest first.
fn remedies(state: &State, pools: &[Candidate], before: &[Waiter]) -> Vec<String> {
    let mut help = Vec::new();
    let is_short =
        ["PoolExhausted", "KeptForOlder", "NoIsolatedSlot"].contains(&state.reason.as_str());
    for pool in pools.iter().filter(|_| is_short || state.reason == "Quarantined") {
        if let (Some(count), Some(at)) = (&pool.quarantined, pool.next_free_at) {
            let verb = if count == "1" { "rests" } else { "rest" };
            help.push(format!(
                "wait: of pool {} {count} {verb}, and the first is free at {at}",
                pool.name
            ));
        }
    }
    if is_short && !before.is_empty() {
        help.push("free addresses go to the older claims above first".to_owned());
    }
    match state.reason.as_str() {
        "PoolExhausted" => {
            help.push("delete an IPClaim of these pools that nobody needs".to_owned());
            help.push(
                "ask the pool's operator for more ranges, or create the claim with a poolSelector that finds another pool"
                    .to_owned(),
            );
        }
        "NoIsolatedSlot" => {
            help.push(
                "ask the pool's operator for more ranges, or for spec.strict: false".to_owned(),
            );
        }
        "InUse" | "BlockTaken" | "Excluded" | "OutOfRange" => help.push(
            "create another IPClaim with another spec.address, or with none to get any".to_owned(),
        ),
        "NotAllowed" => {
            help.push(
                "ask the pool's operator to name the tenant in spec.allowedTenants".to_owned(),
            );
        }
        "PoolNotFound" | "PoolNotReady" | "PoolUnknown" => {
            help.push(
                "look with kubectl freehold network tree what becomes of the pool".to_owned(),
            );
        }
        "PoolDisabled" => help.push("ask the pool's operator to enable it".to_owned()),
        "VLANRequired" => help.push("create a VLAN from a VLANPool of the zone".to_owned()),
        "NotSeen" => {
            help.push("look with kubectl freehold doctor whether the operator runs".to_owned());
        }
        _ => {}
    }
    help
}

/// The explanation for people.
pub fn text(report: &ClaimReport) -> String {
    let since = report.since.map(|since| format!(" since {since}")).unwrap_or_default();
    let phase =
        report.phase.map_or_else(|| "not seen yet".to_owned(), |phase| format!("{phase:?}"));
    let mut root = Branch::new(format!("IPClaim {}: {phase}{since}", plain(&report.claim)));
    root.add(format!("wants {}", plain(&report.wants)));
    root.add(format!("{}: {}", plain(&report.state.reason), plain(&report.state.message)));
    if let Some(named) = &report.named {
        root.add(plain(named));
    }
    for one in &report.addresses {
        let told = &one.told;
        let gateway = told.gateway.as_ref().map(|one| format!(", gateway {}", plain(one)));
        let mut branch = Branch::new(format!(
            "has {}/{} of pool {}{}",
            plain(&told.address),
            told.prefix_length,
            plain(&told.pool),
            gateway.unwrap_or_default()
        ));
        if let Some(booked) = &one.booked {
            branch.add(format!("{}, slot {}: {}", plain(&told.block), told.index, plain(booked)));
        }
        root.add(branch);
    }
    if let Some(strategy) = &report.strategy {
        let mut branch = Branch::new(format!("chosen by {}", plain(strategy)));
        for one in &report.passed_over {
            branch.add(format!("passed over {}: {}", plain(&one.candidate), plain(&one.reason)));
        }
        root.add(branch);
    }
    root.add(pools_branch(report));
    if !report.waits_before.is_empty() {
        root.add(waiting_branch(report));
    }
    if !report.would_help.is_empty() {
        let mut branch = Branch::new("what would help");
        report.would_help.iter().for_each(|one| branch.add(plain(one)));
        root.add(branch);
    }
    if !report.unseen.is_empty() {
        root.add(format!("not looked at: {}", plain(&report.unseen.join("; "))));
    }
    root.lines()
}

fn pools_branch(report: &ClaimReport) -> Branch {
    if report.pools.is_empty() {
        return Branch::new("no pool that it names or selects can be seen");
    }
    let mut branch = Branch::new("pools, in the order of asking");
    for pool in &report.pools {
        let count = |text: &Option<String>| text.as_deref().map_or_else(|| "?".to_owned(), plain);
        let zone = pool.zone.as_ref().map(|zone| format!(", zone {}", plain(zone)));
        let rest = pool.quarantined.as_ref().map(|count| {
            let until = pool.next_free_at.map(|at| format!(" (first until {at})"));
            let verb = if count == "1" { "rests" } else { "rest" };
            format!(", {} {verb}{}", plain(count), until.unwrap_or_default())
        });
        let judged = format!("{}: {}, {}", plain(&pool.name), pool.judged, plain(&pool.why));
        let mut judged = Branch::new(judged);
        judged.add(format!(
            "{:?}, priority {}, {} of {} free{}{}",
            pool.strategy,
            pool.priority,
            count(&pool.free),
            count(&pool.total),
            rest.unwrap_or_default(),
            zone.unwrap_or_default()
        ));
        branch.add(judged);
    }
    branch
}

fn waiting_branch(report: &ClaimReport) -> Branch {
    let before = &report.waits_before;
    let mut branch = Branch::new(match before.len() {
        1 => "1 claim waits before it".to_owned(),
        count => format!("{count} claims wait before it, the oldest first"),
    });
    for one in before.iter().take(WAITING_SHOWN) {
        let created = one.created.map(|at| format!(", created {at}")).unwrap_or_default();
        branch.add(format!(
            "{}: wants {}{created}, {}",
            plain(&one.claim),
            one.count,
            plain(&one.reason)
        ));
    }
    let more = before.len().saturating_sub(WAITING_SHOWN);
    if more > 0 {
        branch.add(format!("… {more} more; -o json lists them"));
    }
    branch
}
