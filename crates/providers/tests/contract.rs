//! One contract, every adapter: the simulator, and libvirt with real guests on a real daemon.

use anyhow::{Context, Result, bail};
use ids::ResourceUid;
use providers::libvirt::{Acceleration, Libvirt};
use providers::simulator::{Configuration, Fault, Simulator};
use providers::{Image, Instance, Power, Provider, ProviderError, Size};
use uuid::Uuid;

const SMALL: Size = Size { vcpus: 1, memory_mib: 128 };
const LARGER: Size = Size { vcpus: 2, memory_mib: 192 };

fn simulator() -> Simulator {
    Simulator::new(Configuration { hosts: 2, host_size: Size { vcpus: 8, memory_mib: 512 } })
}

fn libvirt() -> Result<(Libvirt, Image)> {
    let socket = testkit::setting(testkit::LIBVIRT_SOCKET)?;
    let image = Image {
        kernel_path: Some(testkit::setting(testkit::GUEST_KERNEL)?),
        initrd_path: Some(testkit::setting(testkit::GUEST_INITRD)?),
        kernel_arguments: Some("console=ttyS0 quiet".to_owned()),
        disk_path: None,
    };
    Ok((Libvirt::new(socket.into(), Acceleration::Emulation), image))
}

async fn instance(provider: &dyn Provider, image: Image) -> Result<Instance> {
    let hosts = provider.hosts().await?;
    let host = hosts.first().context("the provider has no host")?;
    assert!(host.vcpus >= 1 && host.memory_mib >= 128, "{host:?}");
    Ok(Instance {
        uid: ResourceUid(Uuid::new_v4()),
        name: "tn-contract/machine".to_owned(),
        host: host.name.clone(),
        size: SMALL,
        image,
    })
}

/// The whole life of a machine, every act done twice: the second changes nothing.
async fn life_cycle(provider: &dyn Provider, image: Image) -> Result<()> {
    let instance = instance(provider, image).await?;
    let uid = instance.uid;
    let power = async || -> Result<Power> {
        Ok(provider.machine(uid).await?.context("the machine is gone")?.power)
    };

    assert_eq!(provider.machine(uid).await?, None);
    let made = provider.create(&instance).await?;
    assert_eq!((made.uid, made.power, made.size), (uid, Power::Off, SMALL));
    assert_eq!(provider.create(&instance).await?, made, "a repeated create is the same machine");

    for _ in 0..2 {
        provider.start(uid).await?;
        assert_eq!(power().await?, Power::On);
    }
    match provider.resize(uid, LARGER).await {
        Err(ProviderError::Refused(_)) if !provider.capabilities().live_resize => {}
        other => bail!("a resize while on should be refused, not {other:?}"),
    }
    for _ in 0..2 {
        provider.stop(uid).await?;
        assert_eq!(power().await?, Power::Off);
    }
    for _ in 0..2 {
        provider.resize(uid, LARGER).await?;
        let machine = provider.machine(uid).await?.context("the machine is gone")?;
        assert_eq!(machine.size, LARGER);
    }
    provider.start(uid).await?;
    assert!(
        provider
            .machines()
            .await?
            .iter()
            .any(|machine| machine.uid == uid && machine.power == Power::On)
    );

    for _ in 0..2 {
        provider.delete(uid).await?;
        assert_eq!(provider.machine(uid).await?, None);
    }
    assert!(provider.machines().await?.iter().all(|machine| machine.uid != uid));
    Ok(())
}

/// Acts on a machine that is not there say so, and deleting it is done.
async fn absent(provider: &dyn Provider) -> Result<()> {
    let uid = ResourceUid(Uuid::new_v4());
    assert_eq!(provider.machine(uid).await?, None);
    assert_eq!(provider.start(uid).await, Err(ProviderError::NotFound(uid)));
    assert_eq!(provider.stop(uid).await, Err(ProviderError::NotFound(uid)));
    assert_eq!(provider.resize(uid, SMALL).await, Err(ProviderError::NotFound(uid)));
    assert_eq!(provider.delete(uid).await, Ok(()));
    Ok(())
}

async fn wrong_host(provider: &dyn Provider, image: Image) -> Result<()> {
    let instance = Instance { host: "no-such-host".to_owned(), ..instance(provider, image).await? };
    match provider.create(&instance).await {
        Err(ProviderError::Refused(reason)) => assert!(reason.contains("no-such-host"), "{reason}"),
        other => bail!("a create on an unknown host should be refused, not {other:?}"),
    }
    assert_eq!(provider.machine(instance.uid).await?, None, "a refusal leaves nothing behind");
    Ok(())
}

#[tokio::test]
async fn simulator_keeps_the_contract() -> Result<()> {
    let provider = simulator();
    life_cycle(&provider, Image::default()).await?;
    absent(&provider).await?;
    wrong_host(&provider, Image::default()).await
}

#[tokio::test]
async fn libvirt_keeps_the_contract() -> Result<()> {
    let (provider, image) = libvirt()?;
    life_cycle(&provider, image.clone()).await?;
    absent(&provider).await?;
    wrong_host(&provider, image).await
}

#[tokio::test]
async fn a_lost_answer_is_resolved_by_asking() -> Result<()> {
    let provider = simulator();
    let instance = instance(&provider, Image::default()).await?;
    provider.inject("create", Fault::LoseAnswer);
    assert!(matches!(provider.create(&instance).await, Err(ProviderError::Unknown(_))));
    assert!(provider.machine(instance.uid).await?.is_some(), "the effect was there");
    provider.create(&instance).await?;
    assert_eq!(provider.machines().await?.len(), 1, "one machine per UID");

    provider.inject("delete", Fault::LoseAnswer);
    assert!(provider.delete(instance.uid).await.is_err());
    assert_eq!(provider.delete(instance.uid).await, Ok(()));
    Ok(())
}

#[tokio::test]
async fn a_failure_before_the_effect_changes_nothing() -> Result<()> {
    let provider = simulator();
    let instance = instance(&provider, Image::default()).await?;
    provider.inject("create", Fault::FailBefore);
    assert!(matches!(provider.create(&instance).await, Err(ProviderError::Unavailable(_))));
    assert_eq!(provider.machine(instance.uid).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_full_host_refuses_and_names_what_is_left() -> Result<()> {
    let provider = simulator();
    for _ in 0..4 {
        provider.create(&instance(&provider, Image::default()).await?).await?;
    }
    match provider.create(&instance(&provider, Image::default()).await?).await {
        Err(ProviderError::Refused(reason)) => assert!(reason.contains("0 MiB"), "{reason}"),
        other => bail!("a full host should refuse, not {other:?}"),
    }
    Ok(())
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_unavailable() {
    let provider = Libvirt::new("/nonexistent/libvirt-sock".into(), Acceleration::Emulation);
    match provider.hosts().await {
        Err(ProviderError::Unavailable(reason)) => {
            assert!(reason.contains("/nonexistent/libvirt-sock"), "{reason}");
        }
        other => panic!("expected unavailable, not {other:?}"),
    }
}
