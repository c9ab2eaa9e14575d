//! A connection to the daemon and the procedures used of it.
//!
//! Each call has a connection to itself, taken from a few idle ones, so a slow start of one guest delays no question
//! about another. A daemon that does not answer in time, or a broken connection, is an unknown outcome; only a question,
//! which changes nothing, is asked once more over a fresh connection, because idle ones die with a restart of the daemon.
//! Numbers of procedures and errors are the protocol's own and never change.

use super::wire::{Decoder, Encoder, Malformed};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use uuid::Uuid;

const PROGRAM: u32 = 0x2000_8086;
const VERSION: u32 = 1;
const TYPE_CALL: u32 = 0;
const TYPE_REPLY: u32 = 1;
const STATUS_OK: u32 = 0;
/// The largest message either side may send.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Length word and header.
const PREFIX_BYTES: usize = 28;
/// A start may probe the emulator first, which takes seconds.
const CALL_TIMEOUT: Duration = Duration::from_mins(1);

/// Procedures of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
enum Procedure {
    Open = 1,
    NodeInformation = 6,
    DomainCreateXml = 10,
    DomainDestroy = 12,
    DomainXml = 14,
    DomainInformation = 16,
    DomainByUuid = 24,
    HostName = 59,
    Authentication = 66,
    DomainCreateWithFlags = 196,
    DomainUndefineFlags = 231,
    ListAllDomains = 273,
    DomainDefineXmlFlags = 350,
}

impl Procedure {
    /// Whether it changes nothing, so that it may be asked again after a lost answer.
    const fn only_asks(self) -> bool {
        match self {
            Self::NodeInformation
            | Self::DomainXml
            | Self::DomainInformation
            | Self::DomainByUuid
            | Self::HostName
            | Self::ListAllDomains => true,
            Self::Open
            | Self::Authentication
            | Self::DomainCreateXml
            | Self::DomainDestroy
            | Self::DomainCreateWithFlags
            | Self::DomainUndefineFlags
            | Self::DomainDefineXmlFlags => false,
        }
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No connection could be made; nothing was done.
    #[error(
        "connect to libvirt at {socket}; is the daemon running, and may this user open its socket?"
    )]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke or the daemon was silent: the call may have worked.
    #[error("call libvirt at {socket}: {what}")]
    Interrupted {
        /// The socket.
        socket: PathBuf,
        /// What happened.
        what: String,
    },
    /// The daemon refused.
    #[error("libvirt says: {message} (code {code})")]
    Refused {
        /// The daemon's error number.
        code: i32,
        /// Its words.
        message: String,
    },
}

/// The definition, or a part of it, cannot be had on this host: wrong argument, wrong XML, unsupported configuration.
pub(super) const ERRORS_OF_THE_DEFINITION: [i32; 3] = [8, 27, 67];
/// The daemon has no such domain.
pub(super) const ERROR_NO_DOMAIN: i32 = 42;
/// The act does not fit the domain's state.
pub(super) const ERROR_OPERATION_INVALID: i32 = 55;

/// A guest by its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    pub(super) name: String,
    pub(super) uuid: Uuid,
    id: i32,
}

/// What the daemon knows of a guest's size and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainInformation {
    pub(super) state: u32,
    pub(super) memory_kib_max: u64,
    pub(super) vcpus: u32,
}

/// What the daemon knows of its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeInformation {
    pub(super) memory_kib: u64,
    pub(super) cpus: i32,
}

/// A client of one daemon.
pub struct LibvirtClient {
    socket: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

/// Calls under way at once. The daemon takes 20 clients from everybody together, as it is delivered.
const CALLS_MAX: usize = 4;

struct Connection {
    stream: UnixStream,
    serial: u32,
}

impl LibvirtClient {
    /// A client of the daemon at `socket`; it connects when first asked something.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, idle: Mutex::default(), permits: Semaphore::new(CALLS_MAX) }
    }

    fn interrupted(&self, what: impl ToString) -> ClientError {
        ClientError::Interrupted { socket: self.socket.clone(), what: what.to_string() }
    }

    fn malformed(&self) -> impl Fn(Malformed) -> ClientError + '_ {
        |error| self.interrupted(error)
    }

    fn idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// One call and its answer. A refusal leaves the connection usable; anything else closes it, and with it the other
    /// idle ones, which have met the same fate.
    async fn call(&self, procedure: Procedure, arguments: Encoder) -> Result<Vec<u8>, ClientError> {
        let _permit = self.permits.acquire().await.map_err(|error| self.interrupted(error))?;
        let payload = arguments.finish();
        if let Some(connection) = self.idle() {
            match self.over(connection, procedure, &payload).await {
                Err(ClientError::Interrupted { .. }) if procedure.only_asks() => {}
                answer => return answer,
            }
        }
        let connection = self.connect().await?;
        self.over(connection, procedure, &payload).await
    }

    async fn over(
        &self,
        mut connection: Connection,
        procedure: Procedure,
        payload: &[u8],
    ) -> Result<Vec<u8>, ClientError> {
        let exchange = connection.exchange(procedure, payload);
        let interrupted = |error| {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            Err(error)
        };
        let answer = match tokio::time::timeout(CALL_TIMEOUT, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return interrupted(self.interrupted(error)),
            Err(_) => return interrupted(self.interrupted("no answer in time")),
        };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        match answer {
            Answer::Result(bytes) => Ok(bytes),
            Answer::Refusal(bytes) => Err(self.refusal(&bytes)),
        }
    }

    fn refusal(&self, bytes: &[u8]) -> ClientError {
        let mut decoder = Decoder::new(bytes);
        let parsed = decoder.i32().and_then(|code| {
            decoder.i32()?;
            Ok((code, decoder.optional_text()?.unwrap_or_default()))
        });
        match parsed {
            Ok((code, message)) => ClientError::Refused { code, message },
            Err(error) => self.interrupted(error),
        }
    }

    async fn connect(&self) -> Result<Connection, ClientError> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|source| ClientError::Connect { socket: self.socket.clone(), source })?;
        let mut connection = Connection { stream, serial: 0 };
        for (procedure, arguments) in [
            (Procedure::Authentication, Encoder::default()),
            (Procedure::Open, Encoder::default().optional_text(Some("qemu:///system")).u32(0)),
        ] {
            let payload = arguments.finish();
            let exchange = connection.exchange(procedure, &payload);
            match tokio::time::timeout(CALL_TIMEOUT, exchange).await {
                Ok(Ok(Answer::Result(_))) => {}
                Ok(Ok(Answer::Refusal(bytes))) => return Err(self.refusal(&bytes)),
                Ok(Err(error)) => return Err(self.interrupted(error)),
                Err(_) => return Err(self.interrupted("no answer in time")),
            }
        }
        Ok(connection)
    }

    /// The host's name.
    pub(super) async fn host_name(&self) -> Result<String, ClientError> {
        let answer = self.call(Procedure::HostName, Encoder::default()).await?;
        Decoder::new(&answer).text().map_err(self.malformed())
    }

    /// The host's capacity.
    pub(super) async fn node_information(&self) -> Result<NodeInformation, ClientError> {
        let answer = self.call(Procedure::NodeInformation, Encoder::default()).await?;
        let mut decoder = Decoder::new(&answer);
        // The model is an array of 32 characters, each of them a word.
        (|| {
            decoder.bytes(32 * 4)?;
            Ok(NodeInformation { memory_kib: decoder.u64()?, cpus: decoder.i32()? })
        })()
        .map_err(self.malformed())
    }

    /// All guests, on and off.
    pub(super) async fn domains(&self) -> Result<Vec<Domain>, ClientError> {
        let arguments = Encoder::default().i32(1).u32(0);
        let answer = self.call(Procedure::ListAllDomains, arguments).await?;
        let mut decoder = Decoder::new(&answer);
        (|| {
            let count = decoder.length()?;
            (0..count).map(|_| domain(&mut decoder)).collect::<Result<Vec<_>, _>>()
        })()
        .map_err(self.malformed())
    }

    /// The guest of this UUID.
    pub(super) async fn domain_by_uuid(&self, uuid: Uuid) -> Result<Option<Domain>, ClientError> {
        match self.call(Procedure::DomainByUuid, Encoder::default().uuid(uuid)).await {
            Ok(answer) => domain(&mut Decoder::new(&answer)).map(Some).map_err(self.malformed()),
            Err(ClientError::Refused { code: ERROR_NO_DOMAIN, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// State and size of a guest.
    pub(super) async fn information(&self, of: &Domain) -> Result<DomainInformation, ClientError> {
        let answer = self.call(Procedure::DomainInformation, of.encode(Encoder::default())).await?;
        let mut decoder = Decoder::new(&answer);
        (|| {
            let state = decoder.u32()?;
            let memory_kib_max = decoder.u64()?;
            decoder.u64()?;
            Ok(DomainInformation { state, memory_kib_max, vcpus: decoder.u32()? })
        })()
        .map_err(self.malformed())
    }

    /// The stored definition of a guest.
    pub(super) async fn xml(&self, of: &Domain) -> Result<String, ClientError> {
        // Flag 2 asks for the definition that the next start will use.
        let answer = self.call(Procedure::DomainXml, of.encode(Encoder::default()).u32(2)).await?;
        Decoder::new(&answer).text().map_err(self.malformed())
    }

    /// Stores a definition; one of the same UUID is replaced.
    pub(super) async fn define(&self, xml: &str) -> Result<Domain, ClientError> {
        let arguments = Encoder::default().text(xml).u32(0);
        let answer = self.call(Procedure::DomainDefineXmlFlags, arguments).await?;
        domain(&mut Decoder::new(&answer)).map_err(self.malformed())
    }

    /// Runs a guest that is forgotten when it ends.
    pub(super) async fn run_once(&self, xml: &str) -> Result<Domain, ClientError> {
        let arguments = Encoder::default().text(xml).u32(0);
        let answer = self.call(Procedure::DomainCreateXml, arguments).await?;
        domain(&mut Decoder::new(&answer)).map_err(self.malformed())
    }

    /// Switches a guest on.
    pub(super) async fn start(&self, of: &Domain) -> Result<(), ClientError> {
        let arguments = of.encode(Encoder::default()).u32(0);
        self.call(Procedure::DomainCreateWithFlags, arguments).await.map(|_| ())
    }

    /// Switches a guest off at once.
    pub(super) async fn destroy(&self, of: &Domain) -> Result<(), ClientError> {
        self.call(Procedure::DomainDestroy, of.encode(Encoder::default())).await.map(|_| ())
    }

    /// Forgets a guest's definition.
    pub(super) async fn undefine(&self, of: &Domain) -> Result<(), ClientError> {
        let arguments = of.encode(Encoder::default()).u32(0);
        self.call(Procedure::DomainUndefineFlags, arguments).await.map(|_| ())
    }
}

impl Domain {
    fn encode(&self, encoder: Encoder) -> Encoder {
        encoder.text(&self.name).uuid(self.uuid).i32(self.id)
    }
}

fn domain(decoder: &mut Decoder<'_>) -> Result<Domain, Malformed> {
    Ok(Domain { name: decoder.text()?, uuid: decoder.uuid()?, id: decoder.i32()? })
}

enum Answer {
    Result(Vec<u8>),
    Refusal(Vec<u8>),
}

impl Connection {
    async fn exchange(&mut self, procedure: Procedure, payload: &[u8]) -> std::io::Result<Answer> {
        self.serial = self.serial.wrapping_add(1);
        let length = PREFIX_BYTES.saturating_add(payload.len());
        let length = u32::try_from(length).map_err(|_| invalid("the call is too long"))?;
        #[expect(clippy::as_conversions, reason = "the discriminant of a fieldless enum")]
        let number = procedure as i32;
        let mut message = Encoder::default()
            .u32(length)
            .u32(PROGRAM)
            .u32(VERSION)
            .i32(number)
            .u32(TYPE_CALL)
            .u32(self.serial)
            .u32(STATUS_OK)
            .finish();
        message.extend(payload);
        self.stream.write_all(&message).await?;
        loop {
            let body = self.receive().await?;
            let mut decoder = Decoder::new(&body);
            let header = (|| {
                decoder.u32()?;
                decoder.u32()?;
                decoder.i32()?;
                Ok::<_, Malformed>((decoder.u32()?, decoder.u32()?, decoder.u32()?))
            })();
            let (kind, serial, status) = header.map_err(|_| invalid("short header"))?;
            // Anything else is an event nobody asked for.
            if kind == TYPE_REPLY && serial == self.serial {
                let payload = body.get(PREFIX_BYTES - 4..).unwrap_or_default().to_vec();
                return Ok(if status == STATUS_OK {
                    Answer::Result(payload)
                } else {
                    Answer::Refusal(payload)
                });
            }
        }
    }

    async fn receive(&mut self) -> std::io::Result<Vec<u8>> {
        let length = usize::try_from(self.stream.read_u32().await?).unwrap_or(usize::MAX);
        if !(PREFIX_BYTES..=MESSAGE_BYTES_MAX).contains(&length) {
            return Err(invalid("impossible message length"));
        }
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }
}

fn invalid(what: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}
