//! Protocol Buffers, as far as remote write needs them: fields in a slice, nothing copied.
//!
//! A message type generated for the purpose would own a string for every label of every series, which costs more than
//! all the rest of the intake; here a field is a number and a slice of the request. The format is small enough to be
//! read by hand: a tag, then a varint, eight bytes, four bytes, or a length and that many bytes.

use super::protocol::Malformed;

/// One field's value as the wire gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Reads the fields of one message in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value; `None` at the end.
    #[inline]
    pub(super) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(Malformed::Tag { tag })?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Cut)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            // Groups have left the format long ago.
            _ => return Err(Malformed::Tag { tag }),
        };
        Ok(Some((number, value)))
    }

    /// The next bare number of a packed field; `None` at the end.
    #[inline]
    pub(super) fn packed(&mut self) -> Result<Option<u64>, Malformed> {
        if self.rest.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        if let Some((first, rest)) = self.rest.split_first()
            && *first < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(*first));
        }
        let mut number = 0_u64;
        for (place, byte) in (0_u32..).zip(self.rest.iter().take(10)) {
            let bits = u64::from(*byte & 0x7f);
            // The tenth byte has room for one bit.
            if place == 9 && bits > 1 {
                return Err(Malformed::Varint);
            }
            number |= bits << (7 * place);
            if *byte < 0x80 {
                let length = usize::try_from(place).unwrap_or(0).saturating_add(1);
                self.take(length)?;
                return Ok(number);
            }
        }
        Err(if self.rest.len() < 10 { Malformed::Cut } else { Malformed::Varint })
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Cut)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Cut)?;
        self.rest = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        let mut reader = Reader::new(message);
        std::iter::from_fn(|| reader.field().transpose()).collect()
    }

    #[test]
    fn every_kind_of_field_is_read() {
        let message = [
            0x08, 0x96, 0x01, // 1: varint 150
            0x11, 1, 0, 0, 0, 0, 0, 0, 0, // 2: eight bytes
            0x1a, 2, b'h', b'i', // 3: bytes
            0x25, 2, 0, 0, 0, // 4: four bytes
        ];
        let wanted = vec![
            (1, Value::Varint(150)),
            (2, Value::Fixed64(1)),
            (3, Value::Bytes(b"hi")),
            (4, Value::Fixed32(2)),
        ];
        assert_eq!(fields(&message), Ok(wanted));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let eleven = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let too_wide = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        for (message, wanted) in [
            (&[0x08][..], Malformed::Cut),
            (&[0x08, 0x80], Malformed::Cut),
            (&[0x11, 1, 2], Malformed::Cut),
            (&[0x1a, 3, b'h', b'i'], Malformed::Cut),
            (&[0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], Malformed::Cut),
            (&[0x25, 1], Malformed::Cut),
            (&[0x00, 1], Malformed::Tag { tag: 0 }),
            (&[0x0b], Malformed::Tag { tag: 0x0b }),
            (&[0x0e], Malformed::Tag { tag: 0x0e }),
            (&eleven, Malformed::Varint),
            (&too_wide, Malformed::Varint),
        ] {
            assert_eq!(fields(message), Err(wanted), "{message:?}");
        }
        let widest = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(fields(&widest), Ok(vec![(1, Value::Varint(u64::MAX))]));
    }
}
