//! The operator as a process on a real API server: what it makes, what it leaves alone, what survives a crash.

use anyhow::{Context, Result};
use crds::compute::{ComputeClusterSpec, MachinePhase, Transition};
use crds::{
    ComputeCluster, InstanceType, PhysicalMachine, Project, Tenant, TenantMember, VirtualMachine,
};
use ids::ResourceUid;
use ids::well_known::{BILLING_MANAGER, METERING_FINALIZER, TENANT_UID_LABEL};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use providers::Provider;
use providers::libvirt::{Acceleration, Libvirt};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use system_tests::{
    Home, Operator, SOON, apply, client, client_as, is_ready, reason, tenant_declaration, unique,
    until, until_gone,
};
use testkit::{GUEST_INITRD, GUEST_KERNEL, LIBVIRT_SOCKET, eventually, setting};

/// A simulated cluster and sizes of its own.
struct Ground {
    cluster: String,
    small: String,
    large: String,
}

async fn cluster(client: &Client, provider: Value) -> Result<String> {
    let (clusters, name) = (Api::<ComputeCluster>::all(client.clone()), unique("c"));
    let spec = json!({"provider": provider, "overcommit": {"vcpuThousandths": 16_000}});
    apply(&clusters, json!({"metadata": {"name": name}, "spec": spec})).await?;
    until(&clusters, &name, "is ready", is_ready).await?;
    Ok(name)
}

async fn ground(client: &Client, hosts: i64) -> Result<Ground> {
    let simulator = json!({"hosts": hosts, "vcpusPerHost": 8, "memoryMibPerHost": 1024});
    let cluster = cluster(client, json!({"kind": "Simulator", "simulator": simulator})).await?;
    let (small, large) = sizes(client).await?;
    Ok(Ground { cluster, small, large })
}

async fn sizes(client: &Client) -> Result<(String, String)> {
    let types: Api<InstanceType> = Api::all(client.clone());
    let (small, large) = (unique("small"), unique("large"));
    for (name, vcpus, memory) in [(&small, 1, "128Mi"), (&large, 2, "512Mi")] {
        apply(
            &types,
            json!({"metadata": {"name": name}, "spec": {"vcpus": vcpus, "memory": memory}}),
        )
        .await?;
    }
    Ok((small, large))
}

fn machine(name: &str, size: &str, cluster: &str, running: bool) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "instanceTypeRef": {"name": size}, "image": "tiny", "running": running,
        "placement": {"clusterRef": {"name": cluster}},
    }})
}

fn phase(machine: &VirtualMachine) -> Option<MachinePhase> {
    machine.status.as_ref().and_then(|status| status.phase)
}

fn transitions(machine: &VirtualMachine) -> Vec<Transition> {
    machine.status.as_ref().map(|status| status.transitions.clone()).unwrap_or_default()
}

fn vcpus_held(machine: &VirtualMachine) -> Vec<(i64, Option<String>)> {
    let held = |transition: &Transition| transition.holds.get("compute/vcpu").cloned();
    transitions(machine).iter().map(|transition| (transition.number, held(transition))).collect()
}

#[tokio::test]
async fn a_tenant_gets_fenced_namespaces_and_its_people_their_rights() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let tenant = Api::<Tenant>::all(client.clone()).get(&home.tenant).await?;
    for name in [&home.namespace, &home.project] {
        let namespace = namespaces.get(name).await?;
        assert_eq!(namespace.labels().get(TENANT_UID_LABEL), tenant.uid().as_ref(), "{name}");
        let policies: Api<NetworkPolicy> = Api::namespaced(client.clone(), name);
        let policy = policies.get("freehold-default").await?.spec.context("no spec")?;
        assert_eq!(
            policy.policy_types,
            Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            "{name}"
        );
    }
    let status = tenant.status.context("no status")?;
    assert_eq!(status.account_id, tenant.metadata.uid, "the books are kept under the tenant's UID");

    let members: Api<TenantMember> = Api::namespaced(client.clone(), &home.namespace);
    let person = format!("{}@example.com", home.tenant);
    let subject = json!({"kind": "User", "name": person});
    let spec = json!({"subject": subject, "roleRefs": [{"name": "developer"}]});
    apply(&members, json!({"metadata": {"name": "dev"}, "spec": spec})).await?;
    until(&members, "dev", "is bound in the project", |member| {
        let status = member.status.clone().unwrap_or_default();
        is_ready(member) && status.bound_namespaces.contains(&home.project)
    })
    .await?;
    let theirs = client_as(Some(&person)).await?;
    let listed = Api::<VirtualMachine>::namespaced(theirs.clone(), &home.project)
        .list(&ListParams::default())
        .await;
    assert!(listed.is_ok(), "a developer lists machines: {listed:?}");
    let foreign = Api::<VirtualMachine>::namespaced(theirs.clone(), "default")
        .list(&ListParams::default())
        .await;
    assert!(matches!(&foreign, Err(kube::Error::Api(status)) if status.code == 403), "{foreign:?}");
    let grab = Patch::Merge(json!({"metadata": {"labels": {TENANT_UID_LABEL: "mine"}}}));
    let stolen = Api::<Namespace>::all(theirs.clone())
        .patch(&home.project, &PatchParams::default(), &grab)
        .await;
    assert!(matches!(&stolen, Err(kube::Error::Api(status)) if status.code == 403), "{stolen:?}");

    members.delete("dev", &DeleteParams::default()).await?;
    until_gone(&members, "dev").await?;
    let after =
        Api::<VirtualMachine>::namespaced(theirs, &home.project).list(&ListParams::default()).await;
    assert!(
        matches!(&after, Err(kube::Error::Api(status)) if status.code == 403),
        "rights stayed: {after:?}"
    );
    home.close().await?;
    operator.stop().await
}

#[tokio::test]
async fn a_namespace_that_is_somebody_elses_is_left_alone() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let name = unique("t");
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let foreign: Namespace =
        serde_json::from_value(json!({"metadata": {"name": format!("tn-{name}")}}))?;
    let before = namespaces.create(&PostParams::default(), &foreign).await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    apply(&tenants, tenant_declaration(&name)).await?;
    until(&tenants, &name, "is refused", |tenant| reason(tenant) == "NamespaceTaken").await?;
    let after = namespaces.get(&before.name_any()).await?;
    assert_eq!(before.labels(), after.labels(), "the foreign namespace was touched");
    tenants.delete(&name, &DeleteParams::default()).await?;
    until_gone(&tenants, &name).await?;
    assert_eq!(
        namespaces.get(&before.name_any()).await?.uid(),
        before.uid(),
        "closing removed a foreign namespace"
    );
    namespaces.delete(&before.name_any(), &DeleteParams::default()).await?;
    operator.stop().await
}

#[tokio::test]
async fn parents_that_lead_back_are_refused() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    let (one, two) = (unique("t"), unique("t"));
    for (name, parent) in [(&one, &two), (&two, &one)] {
        let mut declaration = tenant_declaration(name);
        declaration["spec"]["parentRef"] = json!({"name": parent});
        apply(&tenants, declaration).await?;
    }
    let refused =
        until(&tenants, &one, "is refused", |tenant| reason(tenant) == "ParentCycle").await?;
    let message = serde_json::to_string(&refused.status)?;
    assert!(message.contains(&two), "the message names the way: {message}");
    for name in [&one, &two] {
        let free = Patch::Merge(json!({"spec": {"parentRef": null}}));
        tenants.patch(name, &PatchParams::default(), &free).await?;
    }
    for name in [&one, &two] {
        until(&tenants, name, "is ready", is_ready).await?;
        tenants.delete(name, &DeleteParams::default()).await?;
        until_gone(&tenants, name).await?;
    }
    operator.stop().await
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one life, told in order")]
async fn a_machine_lives_and_every_change_of_what_it_holds_is_numbered() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let ground = ground(&client, 1).await?;
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    apply(&machines, machine("m", &ground.small, &ground.cluster, true)).await?;
    let held = |expected: &'static [(i64, Option<&'static str>)]| {
        move |machine: &VirtualMachine| {
            let expected: Vec<_> = expected
                .iter()
                .map(|(number, amount)| (*number, amount.map(str::to_owned)))
                .collect();
            vcpus_held(machine) == expected
        }
    };
    until(&machines, "m", "runs and is recorded", |machine| {
        is_ready(machine) && held(&[(1, Some("1"))])(machine)
    })
    .await?;

    // A resize while on is refused, done while off, and recorded when it holds something again.
    apply(&machines, machine("m", &ground.large, &ground.cluster, true)).await?;
    until(&machines, "m", "refuses the resize", |machine| reason(machine) == "ResizeNeedsStop")
        .await?;
    apply(&machines, machine("m", &ground.large, &ground.cluster, false)).await?;
    until(&machines, "m", "is off", |machine| {
        is_ready(machine) && phase(machine) == Some(MachinePhase::Stopped)
    })
    .await?;
    apply(&machines, machine("m", &ground.large, &ground.cluster, true)).await?;
    let expected = held(&[(1, Some("1")), (2, None), (3, Some("2"))]);
    let running = until(&machines, "m", "runs larger, nothing dropped", |machine| {
        is_ready(machine) && expected(machine)
    })
    .await?;
    let instants: Vec<_> = transitions(&running).iter().map(|transition| transition.at.0).collect();
    assert!(instants.is_sorted(), "{instants:?}");

    // Billing acknowledges two of three: exactly those go. It holds the object until the last is acknowledged.
    let acknowledge = async |number: i64| {
        let status = json!({"apiVersion": "compute.freehold.dev/v1alpha1", "kind": "VirtualMachine",
            "metadata": {"name": "m"}, "status": {"metering": {"acknowledgedNumber": number}}});
        machines
            .patch_status("m", &PatchParams::apply(BILLING_MANAGER), &Patch::Apply(status))
            .await
    };
    let mut finalizers = machines.get("m").await?.finalizers().to_vec();
    finalizers.push(METERING_FINALIZER.to_owned());
    let pin = Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    machines.patch("m", &PatchParams::default(), &pin).await?;
    acknowledge(2).await?;
    until(&machines, "m", "keeps what is not acknowledged", held(&[(3, Some("2"))])).await?;
    machines.delete("m", &DeleteParams::default()).await?;
    let ended =
        until(&machines, "m", "has its last transition and only billing's hold", |machine| {
            transitions(machine).last().is_some_and(|last| last.is_final && last.number == 4)
                && machine.finalizers() == [METERING_FINALIZER.to_owned()]
        })
        .await?;
    assert_eq!(
        vcpus_held(&ended),
        [(3, Some("2".to_owned())), (4, None)],
        "an unacknowledged transition was dropped"
    );
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    machines.patch("m", &PatchParams::default(), &release).await?;
    until_gone(&machines, "m").await?;
    let hosts = Api::<PhysicalMachine>::all(client.clone()).list(&ListParams::default()).await?;
    let shares: Vec<usize> = hosts
        .iter()
        .filter(|host| host.spec.cluster_ref.name == ground.cluster)
        .map(allocations)
        .collect();
    assert_eq!(shares, [0], "the one host's share was not given back");
    home.close().await?;
    operator.stop().await
}

fn allocations(host: &PhysicalMachine) -> usize {
    host.status.as_ref().map_or(0, |status| status.allocations.len())
}

#[tokio::test]
async fn a_full_host_is_never_overfilled_and_room_goes_to_who_waits() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let ground = ground(&client, 1).await?;
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    // 1024 MiB hold eight machines of 128 MiB; the ninth and tenth wait and say why.
    for index in 0..10 {
        apply(&machines, machine(&format!("m{index}"), &ground.small, &ground.cluster, true))
            .await?;
    }
    let all = async || Ok::<_, anyhow::Error>(machines.list(&ListParams::default()).await?.items);
    eventually("eight run and two wait", SOON, async || {
        let all = all().await?;
        let running =
            all.iter().filter(|machine| phase(machine) == Some(MachinePhase::Running)).count();
        let waiting: Vec<_> =
            all.iter().filter(|machine| reason(*machine) == "NoHostFits").collect();
        Ok((running == 8 && waiting.len() == 2).then_some(()))
    })
    .await?;
    let waiting = all()
        .await?
        .into_iter()
        .find(|machine| reason(machine) == "NoHostFits")
        .context("nobody waits")?;
    let refusals = waiting.status.clone().unwrap_or_default().refusals;
    assert!(
        refusals.iter().any(|one| one.reason == "Insufficient compute/memory-mib"),
        "{refusals:?}"
    );
    let one = all()
        .await?
        .into_iter()
        .find(|machine| phase(machine) == Some(MachinePhase::Running))
        .context("none")?;
    machines.delete(&one.name_any(), &DeleteParams::default()).await?;
    until(
        &machines,
        &waiting.name_any(),
        "gets the freed share or still waits for it",
        |machine| phase(machine) == Some(MachinePhase::Running) || reason(machine) == "NoHostFits",
    )
    .await?;
    eventually("eight run again", SOON, async || {
        let running =
            all().await?.iter().filter(|one| phase(one) == Some(MachinePhase::Running)).count();
        Ok((running == 8).then_some(()))
    })
    .await?;
    home.close().await?;
    operator.stop().await
}

#[tokio::test]
async fn a_suspended_tenant_is_frozen_and_resumes_by_itself() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let ground = ground(&client, 1).await?;
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    apply(&machines, machine("m", &ground.small, &ground.cluster, true)).await?;
    until(&machines, "m", "runs", is_ready).await?;
    let tenants: Api<Tenant> = Api::all(client.clone());
    let suspend = Patch::Merge(json!({"spec": {"suspended": true, "suspendReason": "unpaid"}}));
    tenants.patch(&home.tenant, &PatchParams::default(), &suspend).await?;
    until(&machines, "m", "is frozen", |machine| phase(machine) == Some(MachinePhase::Frozen))
        .await?;
    let resume = Patch::Merge(json!({"spec": {"suspended": false}}));
    tenants.patch(&home.tenant, &PatchParams::default(), &resume).await?;
    let running = until(&machines, "m", "runs again", |machine| {
        phase(machine) == Some(MachinePhase::Running)
    })
    .await?;
    assert_eq!(
        vcpus_held(&running),
        [(1, Some("1".to_owned())), (2, None), (3, Some("1".to_owned()))]
    );
    home.close().await?;
    operator.stop().await
}

#[tokio::test]
async fn a_second_start_writes_nothing() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    operator.stop().await?;
    let versions = async || -> Result<BTreeSet<String>> {
        let mut versions = BTreeSet::new();
        let tenant = Api::<Tenant>::all(client.clone()).get(&home.tenant).await?;
        versions.insert(format!("tenant {}", tenant.resource_version().unwrap_or_default()));
        let project =
            Api::<Project>::namespaced(client.clone(), &home.namespace).get("main").await?;
        versions.insert(format!("project {}", project.resource_version().unwrap_or_default()));
        for name in [&home.namespace, &home.project] {
            let namespace = Api::<Namespace>::all(client.clone()).get(name).await?;
            versions.insert(format!("{name} {}", namespace.resource_version().unwrap_or_default()));
        }
        Ok(versions)
    };
    let before = versions().await?;
    let operator = Operator::start().await?;
    // A later tenant's readiness shows that the first passes are over.
    let other = Home::open(&client).await?;
    assert_eq!(versions().await?, before, "an unchanged declaration was written again");
    other.close().await?;
    home.close().await?;
    operator.stop().await
}

#[tokio::test]
async fn crashes_leave_one_real_guest_per_machine_and_none_behind() -> Result<()> {
    const MACHINES: usize = 4;
    let client = client().await?;
    let mut operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    let image = json!({"name": "tiny", "kernelPath": setting(GUEST_KERNEL)?, "initrdPath": setting(GUEST_INITRD)?,
        "kernelArguments": "console=ttyS0 quiet"});
    let libvirt =
        json!({"socket": setting(LIBVIRT_SOCKET)?, "acceleration": "Emulation", "images": [image]});
    let cluster = cluster(&client, json!({"kind": "Libvirt", "libvirt": libvirt})).await?;
    let (small, _) = sizes(&client).await?;
    let provider = Libvirt::new(setting(LIBVIRT_SOCKET)?.into(), Acceleration::Emulation);
    let guests = async || -> Result<BTreeSet<ResourceUid>> {
        Ok(provider.machines().await?.into_iter().map(|machine| machine.uid).collect())
    };
    let others = guests().await?;
    let machines: Api<VirtualMachine> = Api::namespaced(client.clone(), &home.project);
    for index in 0..MACHINES {
        apply(&machines, machine(&format!("m{index}"), &small, &cluster, true)).await?;
        operator.crash().await?;
    }
    let mut expected = BTreeSet::new();
    for index in 0..MACHINES {
        let machine = until(&machines, &format!("m{index}"), "runs", is_ready).await?;
        assert_eq!(
            vcpus_held(&machine),
            [(1, Some("1".to_owned()))],
            "one start is one transition"
        );
        expected.insert(machine.uid().context("no uid")?.parse::<ResourceUid>()?);
    }
    let real: BTreeSet<ResourceUid> = guests().await?.difference(&others).copied().collect();
    assert_eq!(real, expected, "guests and machines differ");

    // A guest that somebody pulls away comes back, and the hole is in the record.
    let lost = *expected.first().context("no machine")?;
    provider.stop(lost).await?;
    let all = machines.list(&ListParams::default()).await?;
    let name = all
        .iter()
        .find(|one| one.uid() == Some(lost.to_string()))
        .context("no such machine")?
        .name_any();
    let back = until(&machines, &name, "is on again", |machine| {
        transitions(machine).len() == 3 && is_ready(machine)
    })
    .await?;
    assert_eq!(
        vcpus_held(&back),
        [(1, Some("1".to_owned())), (2, None), (3, Some("1".to_owned()))]
    );

    for index in 0..MACHINES {
        machines.delete(&format!("m{index}"), &DeleteParams::default()).await?;
        operator.crash().await?;
    }
    for index in 0..MACHINES {
        until_gone(&machines, &format!("m{index}")).await?;
    }
    assert_eq!(guests().await?, others, "a guest was left behind");
    home.close().await?;
    operator.stop().await
}

#[tokio::test]
async fn what_is_not_ours_is_not_matched() -> Result<()> {
    let client = client().await?;
    let operator = Operator::start().await?;
    let home = Home::open(&client).await?;
    // A machine outside any tenant's namespace is refused, and gets no share.
    let ground = ground(&client, 1).await?;
    let (machines, name) =
        (Api::<VirtualMachine>::namespaced(client.clone(), "default"), unique("m"));
    apply(&machines, machine(&name, &ground.small, &ground.cluster, true)).await?;
    until(&machines, &name, "is refused", |machine| reason(machine) == "NotATenantNamespace")
        .await?;
    machines.delete(&name, &DeleteParams::default()).await?;
    until_gone(&machines, &name).await?;
    // Tenants' objects of other kinds are not the operator's business.
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &home.project);
    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "theirs"}, "data": {"a": "b"}}))?;
    let before = maps.create(&PostParams::default(), &map).await?;
    let spec: ComputeClusterSpec =
        Api::<ComputeCluster>::all(client.clone()).get(&ground.cluster).await?.spec;
    assert!(spec.provider.simulator.is_some());
    assert_eq!(maps.get("theirs").await?.resource_version(), before.resource_version());
    home.close().await?;
    operator.stop().await
}
