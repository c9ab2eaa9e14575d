//! XDR (RFC 4506), as far as the daemon's messages need it: big-endian words, everything padded to four bytes.

use uuid::Uuid;

/// The longest text or list the decoder accepts, so that a bad message cannot ask for all memory.
const LENGTH_MAX: usize = 4 * 1024 * 1024;

/// A message that does not follow the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the daemon's message ends early or carries an impossible length")]
pub struct Malformed;

/// Builds a message.
#[derive(Default)]
pub struct Encoder(Vec<u8>);

impl Encoder {
    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn i32(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    /// A text, or a list of bytes: its length, its bytes, padding.
    pub fn text(self, value: &str) -> Self {
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        let mut encoder = self.u32(length);
        encoder.0.extend(value.as_bytes());
        encoder.pad()
    }

    /// A text that may be absent.
    pub fn optional_text(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.u32(1).text(value),
            None => self.u32(0),
        }
    }

    pub fn uuid(mut self, value: Uuid) -> Self {
        self.0.extend(value.as_bytes());
        self
    }

    fn pad(mut self) -> Self {
        while !self.0.len().is_multiple_of(4) {
            self.0.push(0);
        }
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a message.
pub struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn word<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.word()?))
    }

    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.word()?))
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.word()?))
    }

    pub fn length(&mut self) -> Result<usize, Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        if length > LENGTH_MAX { Err(Malformed) } else { Ok(length) }
    }

    pub fn text(&mut self) -> Result<String, Malformed> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        self.take((4 - length % 4) % 4)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    pub fn optional_text(&mut self) -> Result<Option<String>, Malformed> {
        if self.u32()? == 0 { Ok(None) } else { self.text().map(Some) }
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let bytes = self.take(count)?;
        self.take((4 - count % 4) % 4)?;
        Ok(bytes)
    }

    pub fn uuid(&mut self) -> Result<Uuid, Malformed> {
        Ok(Uuid::from_bytes(self.word()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let uuid = Uuid::from_u128(7);
        let bytes = Encoder::default()
            .u32(1)
            .text("abcde")
            .optional_text(None)
            .optional_text(Some(""))
            .uuid(uuid)
            .finish();
        assert_eq!(bytes.len() % 4, 0);
        let mut decoder = Decoder::new(&bytes);
        assert_eq!(decoder.u32(), Ok(1));
        assert_eq!(decoder.text(), Ok("abcde".to_owned()));
        assert_eq!(decoder.optional_text(), Ok(None));
        assert_eq!(decoder.optional_text(), Ok(Some(String::new())));
        assert_eq!(decoder.uuid(), Ok(uuid));
        assert_eq!(decoder.u32(), Err(Malformed));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        assert_eq!(Decoder::new(&u32::MAX.to_be_bytes()).text(), Err(Malformed));
        assert_eq!(Decoder::new(&[0, 0, 0, 9, 1]).text(), Err(Malformed));
    }
}
