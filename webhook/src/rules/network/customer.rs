//! Who claims: a tenant that lives, in a namespace of a project of its.

use crate::finding::Verdict;
use crate::rules::Change;
use crate::world::World;
use ids::well_known::ROLE_PROJECT;

/// The tenant that a claim is for; `None` with a finding where nobody would answer for it.
pub fn customer<K>(change: &Change<K>, world: &World, verdict: &mut Verdict) -> Option<String> {
    let namespace = change.namespace.as_deref().unwrap_or_default();
    let Some(room) = world.room(namespace).filter(|room| room.role == ROLE_PROJECT) else {
        verdict.invalid(
            "metadata.namespace",
            format!("`{namespace}` is not a project's namespace, so nobody would answer for the claim; create it in tn-<tenant>-<project>"),
        );
        return None;
    };
    let tenant = &room.tenant;
    let Some(found) = world.tenant_of(&room) else {
        verdict.forbid(
            "metadata.namespace",
            format!(
                "tenant `{tenant}` of this namespace is gone; nothing new can be claimed in it"
            ),
        );
        return None;
    };
    if found.metadata.deletion_timestamp.is_some() || room.closing {
        verdict.forbid(
            "metadata.namespace",
            format!("tenant `{tenant}` is closing; nothing new can be claimed in it"),
        );
        return None;
    }
    if found.spec.suspended == Some(true) {
        let reason = found.spec.suspend_reason.as_deref().unwrap_or("no reason given");
        verdict.forbid(
            "metadata.namespace",
            format!("tenant `{tenant}` is suspended ({reason}); nothing new can be claimed until it is resumed"),
        );
        return None;
    }
    Some(room.tenant)
}
