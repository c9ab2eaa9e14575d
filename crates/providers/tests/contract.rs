//! One contract, every adapter: the simulator, and libvirt with real guests on a real daemon.

use anyhow::{Context, Result, bail};
use ids::ResourceUid;
use providers::libvirt::{Acceleration, Libvirt};
use providers::simulator::{Configuration, Fault, Simulator};
use providers::{Image, Instance, Power, Provider, ProviderError, Size};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
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

/// A daemon behind a door that can lose the answers to acts (not to questions) after they had their effect.
struct Door {
    socket: std::path::PathBuf,
    loses: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

/// Destroy, create (start), undefine, define: the procedures that change something.
const ACTS: [u32; 4] = [12, 196, 231, 350];

impl Door {
    fn before(daemon: String) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("door");
        let listener = UnixListener::bind(&socket)?;
        let loses = Arc::new(AtomicBool::new(false));
        let shared = loses.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (daemon, loses) = (daemon.clone(), shared.clone());
                tokio::spawn(async move { relay(client, &daemon, &loses).await });
            }
        });
        Ok(Self { socket, loses, _folder: folder })
    }

    fn lose(&self, lose: bool) {
        self.loses.store(lose, Ordering::SeqCst);
    }
}

/// Carries one call, then its answer, and so on. An answer that is to be lost is waited for, so the effect is there, and
/// then both ends hang up.
async fn relay(mut client: UnixStream, daemon: &str, loses: &AtomicBool) -> Result<()> {
    let mut daemon = UnixStream::connect(daemon).await?;
    loop {
        let call = message(&mut client).await?;
        let procedure = u32::from_be_bytes(call.get(12..16).context("a short call")?.try_into()?);
        daemon.write_all(&call).await?;
        let answer = message(&mut daemon).await?;
        if loses.load(Ordering::SeqCst) && ACTS.contains(&procedure) {
            return Ok(());
        }
        client.write_all(&answer).await?;
    }
}

/// A whole message with its length word.
async fn message(from: &mut UnixStream) -> Result<Vec<u8>> {
    let length = from.read_u32().await?;
    let mut message = length.to_be_bytes().to_vec();
    message.resize(usize::try_from(length)?, 0);
    from.read_exact(message.get_mut(4..).context("a short message")?).await?;
    Ok(message)
}

#[tokio::test]
async fn libvirt_lost_answers_are_resolved_by_asking() -> Result<()> {
    let (_, image) = libvirt()?;
    let door = Door::before(testkit::setting(testkit::LIBVIRT_SOCKET)?)?;
    let provider = Libvirt::new(door.socket.clone(), Acceleration::Emulation);
    let instance = instance(&provider, image).await?;
    let uid = instance.uid;
    let present = async || -> Result<Option<Power>> {
        Ok(provider.machine(uid).await?.map(|machine| machine.power))
    };
    for (act, expected) in [
        ("create", Some(Power::Off)),
        ("start", Some(Power::On)),
        ("stop", Some(Power::Off)),
        ("delete", None),
    ] {
        let attempt = async || match act {
            "create" => provider.create(&instance).await.map(drop),
            "start" => provider.start(uid).await,
            "stop" => provider.stop(uid).await,
            _ => provider.delete(uid).await,
        };
        door.lose(true);
        let lost = attempt().await;
        assert!(matches!(lost, Err(ProviderError::Unknown(_))), "{act}: {lost:?}");
        if act != "delete" {
            // Deleting takes two acts; the others had their whole effect although nobody heard of it.
            assert_eq!(present().await?, expected, "{act} had no effect");
        }
        door.lose(false);
        attempt().await?;
        assert_eq!(present().await?, expected, "{act} repeated after a lost answer");
    }
    let ours = provider.machines().await?.into_iter().filter(|machine| machine.uid == uid).count();
    assert_eq!(ours, 0);
    Ok(())
}

#[tokio::test]
async fn libvirt_refuses_what_the_host_cannot_have() -> Result<()> {
    let (provider, image) = libvirt()?;
    let instance = Instance {
        size: Size { vcpus: 100_000, memory_mib: 128 },
        ..instance(&provider, image).await?
    };
    let refused = provider.create(&instance).await;
    assert!(matches!(refused, Err(ProviderError::Refused(_))), "{refused:?}");
    assert_eq!(provider.machine(instance.uid).await?, None, "a refusal leaves nothing behind");
    Ok(())
}

/// The host decides which one it is; with either the machine has to run.
#[tokio::test]
async fn what_runs_guests_is_found_by_running_one() -> Result<()> {
    let (_, image) = libvirt()?;
    let provider = Libvirt::new(testkit::setting(testkit::LIBVIRT_SOCKET)?.into(), None);
    let instance = instance(&provider, image).await?;
    provider.create(&instance).await?;
    provider.start(instance.uid).await?;
    let machine = provider.machine(instance.uid).await?.context("the machine is gone")?;
    assert_eq!(machine.power, Power::On);
    provider.delete(instance.uid).await?;
    assert_eq!(provider.machine(instance.uid).await?, None);
    Ok(())
}

#[tokio::test]
async fn guests_start_side_by_side() -> Result<()> {
    let (provider, image) = libvirt()?;
    let provider = Arc::new(provider);
    let mut guests = Vec::new();
    for _ in 0..3 {
        guests.push(provider.create(&instance(provider.as_ref(), image.clone()).await?).await?.uid);
    }
    let starts: Vec<_> = guests
        .iter()
        .map(|uid| {
            let (provider, uid) = (provider.clone(), *uid);
            tokio::spawn(async move { provider.start(uid).await })
        })
        .collect();
    for start in starts {
        start.await??;
    }
    let machines = provider.machines().await?;
    for uid in &guests {
        assert!(machines.iter().any(|machine| machine.uid == *uid && machine.power == Power::On));
    }
    for uid in guests {
        provider.delete(uid).await?;
    }
    Ok(())
}

#[tokio::test]
async fn ten_thousand_machines_are_cheap_and_add_up() -> Result<()> {
    let size = Size { vcpus: 4, memory_mib: 100 * 128 };
    let provider = Simulator::new(Configuration { hosts: 100, host_size: size });
    let mut uids = Vec::new();
    for number in 0..10_000_u32 {
        let instance = Instance {
            uid: ResourceUid(Uuid::from_u128(u128::from(number))),
            host: format!("host-{:04}", number / 100),
            ..instance(&provider, Image::default()).await?
        };
        uids.push(provider.create(&instance).await?.uid);
    }
    assert_eq!(provider.machines().await?.len(), 10_000);
    let extra = instance(&provider, Image::default()).await?;
    assert!(matches!(provider.create(&extra).await, Err(ProviderError::Refused(_))), "all is full");
    provider.resize(uids[0], Size { vcpus: 1, memory_mib: 64 }).await?;
    assert!(
        matches!(provider.create(&extra).await, Err(ProviderError::Refused(_))),
        "half is not enough"
    );
    provider.delete(uids[0]).await?;
    provider.create(&extra).await?;
    Ok(())
}
