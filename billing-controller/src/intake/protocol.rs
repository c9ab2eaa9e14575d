//! Prometheus remote write 1.0 and 2.0: from a request's body to series.
//!
//! Both messages are snappy blocks of Protocol Buffers, told apart by the content type. In 1.0 every series spells its
//! labels out; in 2.0 labels are numbers of a table of texts that the request carries once. Where 2.0 says when a
//! counter began depends on the sender's age: up to release candidate 3 `created_timestamp` stands on the series
//! (field 6), from candidate 4 on `start_timestamp` stands on the sample (field 3, prometheus#17411). Both are read,
//! the sample's own first. Histograms, exemplars and metadata are counted and passed over.
//!
//! A label set is handed on as a *key*, a keyed hash of its bytes, and is only taken apart when nobody remembers that
//! key: a sender repeats its series every few seconds, and splitting and checking the same texts again would be most of
//! the work.

use super::wire::{Reader, Value};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Which message a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Protocol {
    /// The protocol that a content type names; `None` for any other. Parameters other than `proto` say nothing.
    pub fn from_content_type(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("application/x-protobuf") {
            return None;
        }
        let mut protocol = Self::V1;
        for parameter in parts {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            if name.trim().eq_ignore_ascii_case("proto") {
                protocol = match value.trim().trim_matches('"') {
                    "prometheus.WriteRequest" => Self::V1,
                    "io.prometheus.write.v2.Request" => Self::V2,
                    _ => return None,
                };
            }
        }
        Some(protocol)
    }

    /// The full name of the message.
    pub const fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }
}

/// Bytes that are not what the sender says they are. Nothing of such a request is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not a snappy block.
    #[error("the body is no snappy block: {0}")]
    Snappy(String),
    /// A field goes on past the end.
    #[error("the message ends in the middle of a field")]
    Cut,
    /// A number of more than 64 bits.
    #[error("a number in the message is longer than 64 bits")]
    Varint,
    /// No such field number or kind of field.
    #[error("{tag} is no tag of a field")]
    Tag {
        /// As read.
        tag: u64,
    },
    /// A field that should be of another kind.
    #[error("field {field} of {message} has the wrong wire type")]
    WireType {
        /// The message.
        message: &'static str,
        /// The field.
        field: u32,
    },
    /// A text that is not UTF-8.
    #[error("a label or symbol is not UTF-8")]
    Text,
    /// A label's number beyond the table.
    #[error("label reference {reference} is beyond the {symbols} symbols of the request")]
    Symbol {
        /// As read.
        reference: u64,
        /// How many symbols there are.
        symbols: usize,
    },
    /// A label without a value.
    #[error("a series has {count} label references, but they come in pairs")]
    OddLabels {
        /// How many there are.
        count: usize,
    },
    /// The other protocol's message.
    #[error("the body is not a {declared}, which its content type says")]
    OtherMessage {
        /// What the content type says.
        declared: &'static str,
    },
}

/// Why a body could not be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// Not a snappy block.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It says it unpacks to more than is taken.
    #[error("the body unpacks to {bytes} bytes; at most {bytes_max} are taken")]
    TooLarge {
        /// What its head says.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
}

/// Unpacks a snappy block. The length that its head promises is checked before anything is set aside for it.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    let refused = |error: snap::Error| Malformed::Snappy(error.to_string());
    let bytes = snap::raw::decompress_len(body).map_err(refused)?;
    if bytes > bytes_max {
        return Err(UnpackError::TooLarge { bytes, bytes_max });
    }
    Ok(snap::raw::Decoder::new().decompress_vec(body).map_err(refused)?)
}

/// A sample as the sender gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RawSample {
    /// The value; a stale marker is a NaN of certain bits.
    pub value: f64,
    /// Milliseconds since 1970.
    pub milliseconds: i64,
    /// When the counter began, in milliseconds since 1970; 0 when the sender does not say.
    pub started_milliseconds: i64,
}

/// What a request held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Series, counted as often as they are named.
    pub series: u64,
    /// Samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
    /// Entries of metadata.
    pub metadata: u64,
}

/// What a label set is remembered by: equal bytes have equal keys, within one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelsKey(pub u128);

/// Makes keys of label sets. Two keyed hashes of 64 bits, drawn at the start of the process, so that a sender can
/// neither hope for nor construct two sets with one key; nothing that is stored depends on them.
#[derive(Debug, Clone, Default)]
pub struct LabelsKeyMaker(RandomState, RandomState);

impl LabelsKeyMaker {
    fn of<'a>(&self, domain: u8, parts: impl Iterator<Item = &'a [u8]> + Clone) -> LabelsKey {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write_u8(domain);
            for part in parts.clone() {
                hasher.write_usize(part.len());
                hasher.write(part);
            }
            u128::from(hasher.finish())
        };
        LabelsKey(half(&self.0) << 64 | half(&self.1))
    }
}

/// One series of a request, with its samples.
#[derive(Debug)]
pub struct Series<'a, 'b> {
    /// What its labels are remembered by.
    pub key: LabelsKey,
    /// Its samples, as sent.
    pub samples: &'b [RawSample],
    labels: RawLabels<'a, 'b>,
}

#[derive(Debug)]
enum RawLabels<'a, 'b> {
    Spelled(&'b [&'a [u8]]),
    Numbered { symbols: &'b [&'a str], references: &'b [usize] },
}

impl<'a> Series<'a, '_> {
    /// The labels, in the order sent.
    ///
    /// # Errors
    /// [`Malformed`] when they are no labels.
    pub fn labels(&self) -> Result<Vec<(&'a str, &'a str)>, Malformed> {
        match &self.labels {
            RawLabels::Spelled(messages) => {
                messages.iter().map(|message| spelled_label(message)).collect()
            }
            RawLabels::Numbered { symbols, references } => references
                .chunks(2)
                .map(|pair| match pair {
                    [name, value] => Ok((symbol(symbols, *name)?, symbol(symbols, *value)?)),
                    _ => Err(Malformed::OddLabels { count: references.len() }),
                })
                .collect(),
        }
    }
}

/// Reads a request and hands each series on, in the order sent. What `each` refuses ends the reading.
///
/// # Errors
/// [`Malformed`]; series handed on before must then be forgotten.
pub fn decode<'a>(
    protocol: Protocol,
    message: &'a [u8],
    keys: &LabelsKeyMaker,
    each: impl FnMut(&Series<'a, '_>) -> Result<(), Malformed>,
) -> Result<Counts, Malformed> {
    match protocol {
        Protocol::V1 => decode_v1(message, keys, each),
        Protocol::V2 => decode_v2(message, keys, each),
    }
}

fn decode_v1<'a>(
    message: &'a [u8],
    keys: &LabelsKeyMaker,
    mut each: impl FnMut(&Series<'a, '_>) -> Result<(), Malformed>,
) -> Result<Counts, Malformed> {
    let mut counts = Counts::default();
    let (mut labels, mut samples) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => {
                labels.clear();
                samples.clear();
                let mut series = Reader::new(bytes("WriteRequest", field, value)?);
                while let Some((field, value)) = series.field()? {
                    match field {
                        1 => labels.push(bytes("TimeSeries", field, value)?),
                        2 => samples.push(sample(bytes("TimeSeries", field, value)?)?),
                        3 => counts.exemplars = counts.exemplars.saturating_add(1),
                        4 => counts.histograms = counts.histograms.saturating_add(1),
                        _ => {}
                    }
                }
                count(&mut counts, &samples);
                let key = keys.of(1, labels.iter().copied());
                let labels = RawLabels::Spelled(&labels);
                each(&Series { key, samples: &samples, labels })?;
            }
            3 => counts.metadata = counts.metadata.saturating_add(1),
            // 2.0 keeps its fields clear of 1.0's so that the one cannot pass as an empty request of the other.
            4 | 5 => return Err(Malformed::OtherMessage { declared: Protocol::V1.message() }),
            _ => {}
        }
    }
    Ok(counts)
}

fn decode_v2<'a>(
    message: &'a [u8],
    keys: &LabelsKeyMaker,
    mut each: impl FnMut(&Series<'a, '_>) -> Result<(), Malformed>,
) -> Result<Counts, Malformed> {
    let symbols = symbols_of(message)?;
    // Series share texts: each is hashed once, and a series by the hashes of its texts.
    let hashes: Vec<[u8; 16]> = symbols
        .iter()
        .map(|symbol| keys.of(0, std::iter::once(symbol.as_bytes())).0.to_le_bytes())
        .collect();
    let mut counts = Counts::default();
    let mut scratch = Scratch::default();
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            5 => {
                scratch.series(bytes("Request", field, value)?, &mut counts)?;
                let Scratch { references, samples } = &scratch;
                if references.len() % 2 == 1 {
                    return Err(Malformed::OddLabels { count: references.len() });
                }
                if let Some(reference) = references.iter().find(|one| **one >= symbols.len()) {
                    return Err(beyond(*reference, symbols.len()));
                }
                count(&mut counts, samples);
                let parts = references.iter().filter_map(|one| hashes.get(*one));
                let key = keys.of(2, parts.map(<[u8; 16]>::as_slice));
                let labels = RawLabels::Numbered { symbols: &symbols, references };
                each(&Series { key, samples, labels })?;
            }
            1..=3 => return Err(Malformed::OtherMessage { declared: Protocol::V2.message() }),
            _ => {}
        }
    }
    Ok(counts)
}

/// The texts of a 2.0 request, wherever in it they stand.
fn symbols_of(message: &[u8]) -> Result<Vec<&str>, Malformed> {
    let mut symbols = Vec::new();
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        if field == 4 {
            symbols.push(text(bytes("Request", field, value)?)?);
        }
    }
    Ok(symbols)
}

/// What one series of a 2.0 request is read into, used again for the next.
#[derive(Default)]
struct Scratch {
    references: Vec<usize>,
    samples: Vec<RawSample>,
}

impl Scratch {
    fn series(&mut self, message: &[u8], counts: &mut Counts) -> Result<(), Malformed> {
        self.references.clear();
        self.samples.clear();
        let mut started_milliseconds = 0;
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            match (field, value) {
                (1, Value::Bytes(packed)) => {
                    let mut packed = Reader::new(packed);
                    while let Some(reference) = packed.packed()? {
                        self.references.push(reference_of(reference)?);
                    }
                }
                (1, Value::Varint(reference)) => self.references.push(reference_of(reference)?),
                (2, Value::Bytes(message)) => self.samples.push(sample(message)?),
                (3, _) => counts.histograms = counts.histograms.saturating_add(1),
                (4, _) => counts.exemplars = counts.exemplars.saturating_add(1),
                (5, _) => counts.metadata = counts.metadata.saturating_add(1),
                (6, Value::Varint(number)) => started_milliseconds = number.cast_signed(),
                (1 | 2 | 6, _) => return Err(Malformed::WireType { message: "TimeSeries", field }),
                _ => {}
            }
        }
        for sample in &mut self.samples {
            if sample.started_milliseconds == 0 {
                sample.started_milliseconds = started_milliseconds;
            }
        }
        Ok(())
    }
}

/// A sample of either protocol: 1.0 has no field 3.
fn sample(message: &[u8]) -> Result<RawSample, Malformed> {
    let mut sample = RawSample { value: 0.0, milliseconds: 0, started_milliseconds: 0 };
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match (field, value) {
            (1, Value::Fixed64(bits)) => sample.value = f64::from_bits(bits),
            (2, Value::Varint(number)) => sample.milliseconds = number.cast_signed(),
            (3, Value::Varint(number)) => sample.started_milliseconds = number.cast_signed(),
            (1..=3, _) => return Err(Malformed::WireType { message: "Sample", field }),
            _ => {}
        }
    }
    Ok(sample)
}

fn spelled_label(message: &[u8]) -> Result<(&str, &str), Malformed> {
    let (mut name, mut label_value) = ("", "");
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => name = text(bytes("Label", field, value)?)?,
            2 => label_value = text(bytes("Label", field, value)?)?,
            _ => {}
        }
    }
    Ok((name, label_value))
}

fn count(counts: &mut Counts, samples: &[RawSample]) {
    counts.series = counts.series.saturating_add(1);
    let more = u64::try_from(samples.len()).unwrap_or(u64::MAX);
    counts.samples = counts.samples.saturating_add(more);
}

fn bytes<'a>(message: &'static str, field: u32, value: Value<'a>) -> Result<&'a [u8], Malformed> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32(_) => {
            Err(Malformed::WireType { message, field })
        }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed::Text)
}

fn symbol<'a>(symbols: &[&'a str], reference: usize) -> Result<&'a str, Malformed> {
    symbols.get(reference).copied().ok_or_else(|| beyond(reference, symbols.len()))
}

fn reference_of(number: u64) -> Result<usize, Malformed> {
    usize::try_from(number).map_err(|_| Malformed::Varint)
}

fn beyond(reference: usize, symbols: usize) -> Malformed {
    Malformed::Symbol { reference: u64::try_from(reference).unwrap_or(u64::MAX), symbols }
}
