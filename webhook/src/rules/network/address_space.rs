//! Address spaces: which may hold the same addresses, and none goes with prefixes in it.

use super::tree;
use crate::finding::{Verdict, named};
use crate::rules::Change;
use crate::world::World;
use crds::network::{AddressSpace, Prefix};
use kube::ResourceExt;
use std::sync::Arc;

/// What stands against a change of a space.
pub fn check(change: &Change<AddressSpace>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(space) = change.declared() {
        others(&change.name, space, world, &mut verdict);
        overlaps_allowed(&change.name, space, world, &mut verdict);
    }
    if let Some(space) = change.deleted() {
        let booked = space.status.iter().flat_map(|status| &status.roots);
        let names: Vec<String> = roots(&change.name, world)
            .iter()
            .map(|root| root.name_any())
            .chain(booked.map(|root| root.name.clone()))
            .collect();
        if !names.is_empty() {
            verdict.forbid(
                "metadata.name",
                format!("prefixes are roots of this space: {}; delete them first", named(names)),
            );
        }
    }
    verdict
}

/// The prefixes without a parent in a space.
pub fn roots(space: &str, world: &World) -> Vec<Arc<Prefix>> {
    let is_root =
        |prefix: &Prefix| prefix.spec.space_ref.as_ref().is_some_and(|of| of.name == space);
    world.prefixes.state_filter(is_root)
}

/// Whether two spaces may hold the same addresses: it is enough that one names the other.
pub fn may_overlap(one: &str, other: &str, world: &World) -> bool {
    let names = |space: &str, wanted: &str| {
        World::named(&world.spaces, space).is_some_and(|space| allows(&space, wanted))
    };
    names(one, other) || names(other, one)
}

fn allows(space: &AddressSpace, other: &str) -> bool {
    space.spec.overlap_allowed_with.iter().any(|name| name.0 == "*" || name.0 == other)
}

fn others(name: &str, space: &AddressSpace, world: &World, verdict: &mut Verdict) {
    for (index, other) in space.spec.overlap_allowed_with.iter().enumerate() {
        let field = format!("spec.overlapAllowedWith[{index}]");
        if other.0 == name {
            verdict.invalid(
                field,
                format!("`{name}` is this space itself, in which nothing overlaps; name another or remove it"),
            );
        } else if other.0 != "*" && World::named(&world.spaces, &other.0).is_none() {
            super::not_there(&field, "AddressSpace", &other.0, verdict);
        }
    }
}

/// What overlaps already has to stay allowed.
fn overlaps_allowed(name: &str, space: &AddressSpace, world: &World, verdict: &mut Verdict) {
    let own = roots(name, world);
    for theirs in world.prefixes.state_filter(|prefix| prefix.spec.space_ref.is_some()) {
        let Some(other) = theirs.spec.space_ref.as_ref().filter(|other| other.name != name) else {
            continue;
        };
        let by_other =
            World::named(&world.spaces, &other.name).is_some_and(|other| allows(&other, name));
        let Some(network) = tree::network_of(&theirs) else { continue };
        if by_other || allows(space, &other.name) {
            continue;
        }
        let meets = |mine: &&Arc<Prefix>| {
            tree::network_of(mine).is_some_and(|mine| mine.overlaps(&network))
        };
        if let Some(mine) = own.iter().find(meets) {
            verdict.forbid(
                "spec.overlapAllowedWith",
                format!(
                    "Prefix `{}` of this space overlaps Prefix `{}` of AddressSpace `{}`; keep `{}` in the list while both are there",
                    mine.name_any(),
                    theirs.name_any(),
                    other.name,
                    other.name
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::{estate, object};
    use super::*;
    use crate::rules::scene::{Scene, change, refused_fields};
    use serde_json::{Value, json};

    fn judged(scene: Scene, operation: &str, old: Value, new: Value) -> Verdict {
        check(&change(operation, old, new), &scene.world())
    }

    fn space(allowed: &[&str]) -> Value {
        object("main", json!({ "overlapAllowedWith": allowed }))
    }

    #[test]
    fn a_space_does_not_name_itself() {
        let of = |allowed: &[&str]| judged(estate(), "CREATE", json!(null), space(allowed));
        assert!(of(&["*"]).allows());
        assert!(of(&["lab"]).warnings.is_empty());
        assert_eq!(of(&["later"]).warnings.len(), 1);
        assert_eq!(refused_fields(&of(&["lab", "main"])), ["spec.overlapAllowedWith[1]"]);
    }

    #[test]
    fn what_overlaps_stays_allowed() {
        let twin = object("twin", json!({ "spaceRef": { "name": "lab" }, "cidr": "10.0.0.0/9" }));
        let scene = || estate().network("prefixes", twin.clone());
        let update = |scene: Scene, allowed: &[&str]| {
            judged(scene, "UPDATE", space(&["lab"]), space(allowed))
        };
        let verdict = update(scene(), &[]);
        assert_eq!(refused_fields(&verdict), ["spec.overlapAllowedWith"]);
        assert_eq!(
            verdict.findings[0].message,
            "Prefix `top` of this space overlaps Prefix `twin` of AddressSpace `lab`; keep `lab` in the list while both are there"
        );
        assert!(update(scene(), &["lab", "far"]).allows());
        assert!(update(estate(), &[]).allows());
        let by_other =
            scene().network("spaces", object("lab", json!({ "overlapAllowedWith": ["main"] })));
        assert!(update(by_other, &[]).allows());
    }

    #[test]
    fn a_space_goes_when_it_is_empty() {
        let gone = |name: &str| judged(estate(), "DELETE", object(name, json!({})), json!(null));
        assert!(gone("lab").allows());
        let verdict = gone("main");
        assert_eq!(refused_fields(&verdict), ["metadata.name"]);
        assert!(verdict.findings[0].message.contains("top, top6"), "{verdict:?}");
        let mut booked = object("lab", json!({}));
        booked["status"] =
            json!({ "roots": [{ "name": "old", "uid": "u", "cidr": "10.0.0.0/8", "seq": 1 }] });
        assert_eq!(
            refused_fields(&judged(estate(), "DELETE", booked, json!(null))),
            ["metadata.name"]
        );
    }
}
