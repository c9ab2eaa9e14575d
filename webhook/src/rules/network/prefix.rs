//! Prefixes: within their parent, apart from their siblings, in one zone and for one tenant all the way down, and never
//! smaller than what is in use.

mod below;
#[cfg(test)]
mod tests;

use super::tree::{self, Standing};
use super::{address_space, not_there, zone_words};
use crate::finding::Verdict;
use crate::review::Operation;
use crate::rules::Change;
use crate::world::World;
use crds::network::{NetworkClass, Prefix, PrefixRole};
use ipam::address::{Cidr, Family};
use kube::ResourceExt;

/// What one prefix can have directly below it: its table is one object.
const CHILDREN_MAX: usize = 1024;

/// What stands against a change of a prefix.
pub fn check(change: &Change<Prefix>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(prefix) = change.declared() {
        let place =
            Place { change, prefix, above: tree::above(&change.name, prefix, world), world };
        place.check(&mut verdict);
    }
    if let Some(prefix) = change.deleted() {
        below::nothing_is_left(&change.name, prefix, world, &mut verdict);
    }
    verdict
}

/// A declared prefix where it would stand.
struct Place<'a> {
    change: &'a Change<Prefix>,
    prefix: &'a Prefix,
    above: Standing,
    world: &'a World,
}

impl Place<'_> {
    fn check(&self, verdict: &mut Verdict) {
        if self.above.is_circle {
            verdict.invalid(
                "spec.parentRef.name",
                format!(
                    "the way up from `{}` comes back to it; choose a parent that is not below it",
                    self.parent_name()
                ),
            );
            return;
        }
        let network = self.network(verdict);
        self.references(verdict);
        self.inherits(verdict);
        self.below_parent(network, verdict);
        if let Some(network) = network {
            self.apart_from_siblings(&network, verdict);
            if self.prefix.spec.space_ref.is_some() {
                self.apart_from_spaces(&network, verdict);
            }
        }
        if let (Operation::Update, Some(old)) = (self.change.operation, &self.change.old) {
            below::keeps_what_is_there(&self.change.name, old, self.prefix, self.world, verdict);
        }
    }

    fn parent_name(&self) -> &str {
        self.prefix.parent().unwrap_or_default()
    }

    /// The network that would hold; a finding where the declared one cannot be read.
    fn network(&self, verdict: &mut Verdict) -> Option<Cidr> {
        match self.prefix.spec.cidr.as_ref().map(|text| text.as_str().parse::<Cidr>()) {
            Some(Ok(network)) => Some(network),
            Some(Err(error)) => {
                verdict.invalid("spec.cidr", format!("{error}"));
                None
            }
            None => tree::network_of(self.prefix),
        }
    }

    fn references(&self, verdict: &mut Verdict) {
        let (spec, world) = (&self.prefix.spec, self.world);
        if let Some(space) = &spec.space_ref
            && World::named(&world.spaces, &space.name).is_none()
        {
            not_there("spec.spaceRef.name", "AddressSpace", &space.name, verdict);
        }
        if let Some(selector) = &spec.parent_selector {
            let is_meant = |prefix: &Prefix| {
                prefix.role() == PrefixRole::Container && selector.matches(prefix.labels())
            };
            if world.prefixes.state_filter(is_meant).is_empty() {
                verdict
                    .warn("spec.parentSelector: no Prefix of role Container has these labels yet");
            }
        }
        if let Some(zone) = &spec.zone_ref
            && World::named(&world.zones, &zone.name).is_none()
        {
            not_there("spec.zoneRef.name", "SecurityZone", &zone.name, verdict);
        }
        if let Some(tenant) = &spec.tenant_ref
            && World::named(&world.tenants, &tenant.name).is_none()
        {
            not_there("spec.tenantRef.name", "Tenant", &tenant.name, verdict);
        }
    }

    /// A zone and a tenant hold all the way down.
    fn inherits(&self, verdict: &mut Verdict) {
        let spec = &self.prefix.spec;
        if let (Some(own), Some(said)) = (&spec.zone_ref, &self.above.zone)
            && own.name != said.name
        {
            verdict.invalid(
                "spec.zoneRef.name",
                format!("zone `{}` is not zone `{}` of Prefix `{}` above; a zone holds all the way down: leave it out", own.name, said.name, said.by),
            );
        }
        if let (Some(own), Some(said)) = (&spec.tenant_ref, &self.above.tenant)
            && own.name != said.name
        {
            verdict.invalid(
                "spec.tenantRef.name",
                format!("tenant `{}` is not tenant `{}` that Prefix `{}` above is kept for; leave it out", own.name, said.name, said.by),
            );
        }
    }

    fn below_parent(&self, network: Option<Cidr>, verdict: &mut Verdict) {
        let spec = &self.prefix.spec;
        let Some(name) = spec.parent_ref.as_ref().map(|parent| parent.name.as_str()) else {
            return;
        };
        let Some(parent) = World::named(&self.world.prefixes, name) else {
            not_there("spec.parentRef.name", "Prefix", name, verdict);
            return;
        };
        if parent.role() != PrefixRole::Container {
            verdict.invalid(
                "spec.parentRef.name",
                format!("Prefix `{name}` is of role {:?} and holds no other prefixes; name one of role Container", parent.role()),
            );
        }
        let is_new = self.change.operation == Operation::Create;
        if is_new && tree::children(name, self.world).len() >= CHILDREN_MAX {
            verdict.forbid(
                "spec.parentRef.name",
                format!("Prefix `{name}` has {CHILDREN_MAX} prefixes below it, which is the most; put a level in between"),
            );
        }
        let Some(around) = tree::network_of(&parent) else { return };
        match (&spec.cidr, network) {
            (Some(_), Some(network)) if around == network => verdict.invalid(
                "spec.cidr",
                format!("{network} is all of Prefix `{name}`; choose a part of that"),
            ),
            (Some(_), Some(network)) if !around.contains_cidr(&network) => verdict.invalid(
                "spec.cidr",
                format!(
                    "{network} is not within {around} of Prefix `{name}`; choose a part of that"
                ),
            ),
            (None, _) => self.length_fits(name, &around, verdict),
            _ => {}
        }
    }

    fn length_fits(&self, parent: &str, around: &Cidr, verdict: &mut Verdict) {
        let spec = &self.prefix.spec;
        if let Some(class) = spec.class
            && around.family() == Family::V6
        {
            verdict.invalid(
                "spec.class",
                format!("class {class:?} is a length of IPv4, and {around} of Prefix `{parent}` is IPv6; write spec.length"),
            );
            return;
        }
        let field = if spec.class.is_some() { "spec.class" } else { "spec.length" };
        let length =
            spec.length.or_else(|| spec.class.map(|class| i64::from(NetworkClass::length(class))));
        // A part is smaller than the whole.
        let least = i64::from(around.length()).saturating_add(1);
        let most = i64::from(around.family().bits());
        if length.is_some_and(|length| !(least..=most).contains(&length)) {
            verdict.invalid(
                field,
                format!("cannot be carved from {around} of Prefix `{parent}`; write a length from {least} to {most}"),
            );
        }
    }

    /// Two children of one parent, or two roots of one space, never share an address.
    fn apart_from_siblings(&self, network: &Cidr, verdict: &mut Verdict) {
        let (name, spec) = (&self.change.name, &self.prefix.spec);
        let (siblings, booked, where_) = if let Some(space) = &spec.space_ref {
            let table = World::named(&self.world.spaces, &space.name);
            let roots = table.and_then(|space| Some(space.status.as_ref()?.roots.clone()));
            let words = format!("a root of AddressSpace `{}`", space.name);
            (address_space::roots(&space.name, self.world), roots, words)
        } else {
            let parent = self.parent_name();
            let table = World::named(&self.world.prefixes, parent);
            let children = table.and_then(|parent| Some(parent.status.as_ref()?.children.clone()));
            let words = format!("below Prefix `{parent}`");
            (tree::children(parent, self.world), children, words)
        };
        let declared = siblings.iter().map(|other| (other.name_any(), tree::network_of(other)));
        let booked = booked.into_iter().flatten().map(|entry| {
            let network = entry.cidr.parse().ok();
            (entry.name, network)
        });
        let clash = declared.chain(booked).find(|(other, taken)| {
            other != name && taken.is_some_and(|taken| taken.overlaps(network))
        });
        if let Some((other, Some(taken))) = clash {
            verdict.duplicate(
                "spec.cidr",
                format!("{network} overlaps {taken} of Prefix `{other}`, which is {where_} too; choose a free part"),
            );
        }
    }

    /// Roots of different spaces share addresses only where one of the spaces allows it.
    fn apart_from_spaces(&self, network: &Cidr, verdict: &mut Verdict) {
        let Some(own) = &self.prefix.spec.space_ref else { return };
        let elsewhere = |prefix: &Prefix| {
            prefix.spec.space_ref.as_ref().is_some_and(|space| space.name != own.name)
                && tree::network_of(prefix).is_some_and(|taken| taken.overlaps(network))
        };
        let mut others = self.world.prefixes.state_filter(elsewhere);
        others.sort_by_key(|other| other.name_any());
        for other in others {
            let Some(space) = &other.spec.space_ref else { continue };
            if !address_space::may_overlap(&own.name, &space.name, self.world) {
                verdict.duplicate(
                    "spec.cidr",
                    format!(
                        "{network} overlaps {} of Prefix `{}` in AddressSpace `{}`; choose another network, or let `{}` or `{}` name the other in spec.overlapAllowedWith",
                        other.cidr().unwrap_or_default(),
                        other.name_any(),
                        space.name,
                        own.name,
                        space.name
                    ),
                );
                return;
            }
        }
    }
}

/// A prefix's zone in words, for those that have to be in the same.
pub fn zone_in_words(name: &str, prefix: &Prefix, world: &World) -> String {
    zone_words(tree::standing(name, prefix, world).zone())
}
