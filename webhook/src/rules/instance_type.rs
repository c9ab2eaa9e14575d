//! Instance types: readable amounts, and none goes while a machine has it. The rest of "immutable" is in the schema.

use super::Change;
use crate::finding::{Verdict, named};
use crate::world::World;
use crds::InstanceType;
use operator_kit::cache::key_of;

/// What stands against a change of a size.
pub fn check(change: &Change<InstanceType>, world: &World) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(size) = change.declared()
        && size.spec.memory_mib().is_none()
    {
        verdict.invalid(
            "spec.memory",
            format!(
                "`{}` is not an amount; write a whole number of Mi, Gi or Ti, such as 2Gi",
                size.spec.memory
            ),
        );
    }
    if change.deleted().is_some() {
        let users: Vec<String> = world
            .machines
            .state()
            .iter()
            .filter(|machine| machine.spec.instance_type_ref.name == change.name)
            .map(|machine| key_of(machine.as_ref()))
            .collect();
        if !users.is_empty() {
            verdict.forbid(
                "metadata.name",
                format!("machines have this size: {}; delete or resize them first", named(users)),
            );
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::scene::{Scene, change, refused_fields};
    use super::*;
    use serde_json::{Value, json};

    fn size(memory: &str) -> Value {
        json!({ "metadata": { "name": "small" }, "spec": { "vcpus": 1, "memory": memory } })
    }

    #[test]
    fn memory_has_to_be_an_amount() {
        let world = Scene::default().world();
        let of =
            |memory| refused_fields(&check(&change("CREATE", json!(null), size(memory)), &world));
        assert!(of("2Gi").is_empty());
        assert_eq!(of("2G"), ["spec.memory"]);
    }

    #[test]
    fn a_size_in_use_stays() {
        let deletion = change("DELETE", size("2Gi"), json!(null));
        assert!(check(&deletion, &Scene::default().machine("n", "m", "large").world()).allows());
        let used = check(&deletion, &Scene::default().machine("n", "m", "small").world());
        assert!(used.findings[0].message.contains("n/m"), "{used:?}");
    }
}
