//! AMF 0, as far as RTMP commands need it (Action Message Format, AMF 0). Pure.
//!
//! We do not use `rml_amf0`. It recurses as deep as the sender nests, and a stack overflow ends the whole process, not only the task.
//! It also refuses types that encoders do send (long strings, dates).

use std::fmt;

use crate::limits::{AMF_DEPTH_MAX, AMF_VALUES_MAX};

/// Why a payload is not AMF 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AmfError {
    /// The payload ends within a value.
    #[error("AMF value is cut off")]
    Truncated,
    /// Nested deeper than [`AMF_DEPTH_MAX`].
    #[error("AMF message nests deeper than {AMF_DEPTH_MAX}")]
    TooDeep,
    /// More than [`AMF_VALUES_MAX`] values.
    #[error("AMF message holds more than {AMF_VALUES_MAX} values")]
    TooMany,
    /// A type that no encoder sends.
    #[error("AMF type {0:#04x} is not supported")]
    Type(u8),
}

/// An AMF 0 value.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Type 0 (2.2).
    Number(f64),
    /// Type 1 (2.3).
    Boolean(bool),
    /// Types 2, 12 and 15: string, long string, XML (2.4, 2.14, 2.17).
    String(String),
    /// Object or ECMA array, in the order sent.
    Object(Vec<(String, Value)>),
    /// Type 10, strict array (2.12).
    Array(Vec<Value>),
    /// Null, undefined, unsupported, references and dates, whose content no caller needs.
    Null,
}

impl fmt::Debug for Value {
    /// Shows only the length of strings, which may hold a stream key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Boolean(value) => write!(f, "{value}"),
            Self::String(text) => write!(f, "string of {}", text.len()),
            Self::Object(properties) => f.debug_map().entries(properties.iter().map(|(k, v)| (k, v))).finish(),
            Self::Array(values) => f.debug_list().entries(values).finish(),
            Self::Null => f.write_str("null"),
        }
    }
}

impl Value {
    pub fn text(text: &str) -> Self {
        Self::String(text.to_owned())
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The first property of an object with this name.
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(properties) = self else { return None };
        properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Reads all values of a message.
pub fn decode(bytes: &[u8]) -> Result<Vec<Value>, AmfError> {
    let mut reader = Reader { bytes, values: 0 };
    let mut values = Vec::new();
    while !reader.bytes.is_empty() {
        values.push(reader.value(0)?);
    }
    Ok(values)
}

struct Reader<'a> {
    bytes: &'a [u8],
    values: usize,
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], AmfError> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(AmfError::Truncated)?;
        self.bytes = rest;
        Ok(*head)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], AmfError> {
        let (head, rest) = self.bytes.split_at_checked(length).ok_or(AmfError::Truncated)?;
        self.bytes = rest;
        Ok(head)
    }

    fn string(&mut self) -> Result<String, AmfError> {
        let length = u16::from_be_bytes(self.take()?);
        Ok(String::from_utf8_lossy(self.slice(usize::from(length))?).into_owned())
    }

    fn value(&mut self, depth: usize) -> Result<Value, AmfError> {
        self.values = self.values.saturating_add(1);
        if depth > AMF_DEPTH_MAX {
            return Err(AmfError::TooDeep);
        }
        if self.values > AMF_VALUES_MAX {
            return Err(AmfError::TooMany);
        }
        let [kind] = self.take()?;
        Ok(match kind {
            0x00 => Value::Number(f64::from_be_bytes(self.take()?)),
            0x01 => Value::Boolean(self.take::<1>()? != [0]),
            0x02 => Value::String(self.string()?),
            0x03 => self.object(depth)?,
            0x05 | 0x06 | 0x0D => Value::Null,
            0x07 => self.take::<2>().map(|_| Value::Null)?,
            0x08 => {
                // The count is a hint; the end marker ends the array (2.10).
                self.take::<4>()?;
                self.object(depth)?
            }
            0x0A => self.array(depth)?,
            0x0B => self.take::<10>().map(|_| Value::Null)?,
            0x0C | 0x0F => {
                let length = usize::try_from(u32::from_be_bytes(self.take()?)).map_err(|_| AmfError::Truncated)?;
                Value::String(String::from_utf8_lossy(self.slice(length)?).into_owned())
            }
            other => return Err(AmfError::Type(other)),
        })
    }

    fn object(&mut self, depth: usize) -> Result<Value, AmfError> {
        let mut properties = Vec::new();
        loop {
            // Some encoders end the message without the end marker.
            if self.bytes.is_empty() {
                break;
            }
            let name = self.string()?;
            if name.is_empty() && self.bytes.first() == Some(&0x09) {
                self.take::<1>()?;
                break;
            }
            properties.push((name, self.value(depth.saturating_add(1))?));
        }
        Ok(Value::Object(properties))
    }

    fn array(&mut self, depth: usize) -> Result<Value, AmfError> {
        let count = u32::from_be_bytes(self.take()?);
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth.saturating_add(1))?);
        }
        Ok(Value::Array(values))
    }
}

/// Writes values. Cuts strings longer than 65,535 bytes; this crate makes none.
pub fn encode(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| write(&mut out, value));
    out
}

fn write(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Number(number) => {
            out.push(0x00);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(value) => out.extend_from_slice(&[0x01, u8::from(*value)]),
        Value::String(text) => {
            out.push(0x02);
            write_string(out, text);
        }
        Value::Object(properties) => {
            out.push(0x03);
            for (name, value) in properties {
                write_string(out, name);
                write(out, value);
            }
            out.extend_from_slice(&[0, 0, 0x09]);
        }
        Value::Array(values) => {
            out.push(0x0A);
            out.extend_from_slice(&u32::try_from(values.len()).unwrap_or(u32::MAX).to_be_bytes());
            values.iter().for_each(|value| write(out, value));
        }
        Value::Null => out.push(0x05),
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(text.bytes().take(usize::from(length)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_written() {
        let values = vec![
            Value::text("connect"),
            Value::Number(1.0),
            Value::Object(vec![("app".to_owned(), Value::text("live")), ("x".to_owned(), Value::Boolean(true))]),
            Value::Array(vec![Value::Null, Value::Number(-0.5)]),
        ];
        assert_eq!(decode(&encode(&values)), Ok(values));
    }

    #[test]
    fn nesting_is_bounded() {
        let bomb = [0x03, 0x00, 0x01, b'a'].repeat(1_000_000);
        assert_eq!(decode(&bomb), Err(AmfError::TooDeep));
        // Each object holds the next one, and the innermost a null.
        let nested = |depth: usize| [[0x03, 0x00, 0x01, b'a'].repeat(depth), vec![0x05]].concat();
        assert!(decode(&nested(AMF_DEPTH_MAX)).is_ok());
        assert_eq!(decode(&nested(AMF_DEPTH_MAX + 1)), Err(AmfError::TooDeep));
    }

    #[test]
    fn number_of_values_is_bounded() {
        let wide = [vec![0x0A, 0xFF, 0xFF, 0xFF, 0xFF], vec![0x05; 100_000]].concat();
        assert_eq!(decode(&wide), Err(AmfError::TooMany));
        assert_eq!(decode(&[0x05; AMF_VALUES_MAX]).unwrap().len(), AMF_VALUES_MAX);
        assert_eq!(decode(&[0x05; AMF_VALUES_MAX + 1]), Err(AmfError::TooMany));
    }

    #[test]
    fn every_cut_is_an_error_or_a_shorter_message() {
        let whole = encode(&[Value::text("publish"), Value::Number(4.0), Value::Null, Value::text("key")]);
        for end in 0..whole.len() {
            if let Ok(values) = decode(&whole[..end]) {
                assert!(values.len() < 4);
            }
        }
        assert_eq!(decode(&[0x10]), Err(AmfError::Type(0x10)));
    }

    #[test]
    fn debug_shows_no_string() {
        assert_eq!(format!("{:?}", Value::text("secret")), "string of 6");
    }
}
