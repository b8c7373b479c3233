//! AMF 0 (Action Message Format): writes any value, even those that no encoder should send, and reads servers' answers. Pure.

/// Deepest nesting of values that is read in an answer.
const DEPTH_MAX: usize = 8;
/// Most values that are read in an answer.
const VALUES_MAX: usize = 256;

/// A value, with the section of AMF 0 that specifies it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// 2.2.
    Number(f64),
    /// 2.3.
    Boolean(bool),
    /// 2.4. More than 65,535 bytes are written as a long string (2.14).
    Text(String),
    /// 2.5: an anonymous object.
    Object(Vec<(String, Value)>),
    /// 2.10: an object with a count, as metadata is sent.
    EcmaArray(Vec<(String, Value)>),
    /// 2.12.
    StrictArray(Vec<Value>),
    /// 2.13: milliseconds since 1970.
    Date(f64),
    /// 2.7.
    Null,
    /// 2.8.
    Undefined,
}

impl Value {
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// An object of named values.
    #[must_use]
    pub fn object<const N: usize>(properties: [(&str, Self); N]) -> Self {
        Self::Object(properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// A property of an object or ECMA array.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let (Self::Object(properties) | Self::EcmaArray(properties)) = self else { return None };
        properties.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Writes values one after the other.
#[must_use]
pub fn write(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    values.iter().for_each(|value| value.write(&mut out));
    out
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Number(number) => tagged(out, 0x00, &number.to_be_bytes()),
            Self::Boolean(value) => tagged(out, 0x01, &[u8::from(*value)]),
            Self::Text(text) => match u16::try_from(text.len()) {
                Ok(_) => {
                    out.push(0x02);
                    name(out, text);
                }
                Err(_) => {
                    tagged(out, 0x0C, &length(text.len()));
                    out.extend_from_slice(text.as_bytes());
                }
            },
            Self::Object(properties) => {
                out.push(0x03);
                named(out, properties);
            }
            Self::EcmaArray(properties) => {
                tagged(out, 0x08, &length(properties.len()));
                named(out, properties);
            }
            Self::StrictArray(values) => {
                tagged(out, 0x0A, &length(values.len()));
                values.iter().for_each(|value| value.write(out));
            }
            Self::Date(millis) => {
                tagged(out, 0x0B, &millis.to_be_bytes());
                out.extend_from_slice(&[0, 0]);
            }
            Self::Null => out.push(0x05),
            Self::Undefined => out.push(0x06),
        }
    }
}

fn tagged(out: &mut Vec<u8>, marker: u8, bytes: &[u8]) {
    out.push(marker);
    out.extend_from_slice(bytes);
}

fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

fn named(out: &mut Vec<u8>, properties: &[(String, Value)]) {
    for (key, value) in properties {
        name(out, key);
        value.write(out);
    }
    out.extend_from_slice(&[0, 0, 0x09]);
}

fn name(out: &mut Vec<u8>, text: &str) {
    let count = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&count.to_be_bytes());
    out.extend(text.bytes().take(usize::from(count)));
}

/// Reads values until the bytes end or cannot be parsed.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<Value> {
    let mut reader = Reader { bytes, values: 0 };
    let mut values = Vec::new();
    while !reader.bytes.is_empty() {
        let Some(value) = reader.value(0) else { break };
        values.push(value);
    }
    values
}

struct Reader<'a> {
    bytes: &'a [u8],
    values: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn text(&mut self, count: usize) -> Option<String> {
        let (head, rest) = self.bytes.split_at_checked(count)?;
        self.bytes = rest;
        Some(String::from_utf8_lossy(head).into_owned())
    }

    fn name(&mut self) -> Option<String> {
        let count = u16::from_be_bytes(self.take()?);
        self.text(usize::from(count))
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return None;
        }
        let [marker] = self.take()?;
        Some(match marker {
            0x00 => Value::Number(f64::from_be_bytes(self.take()?)),
            0x01 => Value::Boolean(self.take::<1>()? != [0]),
            0x02 => Value::Text(self.name()?),
            0x03 => Value::Object(self.properties(depth)?),
            0x05 => Value::Null,
            0x06 => Value::Undefined,
            0x08 => {
                self.take::<4>()?;
                Value::EcmaArray(self.properties(depth)?)
            }
            0x0A => {
                let count = u32::from_be_bytes(self.take()?);
                Value::StrictArray((0..count).map(|_| self.value(depth + 1)).collect::<Option<_>>()?)
            }
            0x0B => {
                let millis = f64::from_be_bytes(self.take()?);
                self.take::<2>()?;
                Value::Date(millis)
            }
            0x0C => {
                let count = u32::from_be_bytes(self.take()?);
                Value::Text(self.text(usize::try_from(count).ok()?)?)
            }
            _ => return None,
        })
    }

    fn properties(&mut self, depth: usize) -> Option<Vec<(String, Value)>> {
        let mut properties = Vec::new();
        loop {
            let key = self.name()?;
            if key.is_empty() && self.bytes.first() == Some(&0x09) {
                self.take::<1>()?;
                return Some(properties);
            }
            properties.push((key, self.value(depth + 1)?));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_back_as_written() {
        let values = vec![
            Value::text("onStatus"),
            Value::Number(0.0),
            Value::Null,
            Value::object([
                ("code", Value::text("x")),
                ("list", Value::StrictArray(vec![Value::Undefined, Value::Date(1.0)])),
            ]),
            Value::EcmaArray(vec![("fps".to_owned(), Value::Boolean(true))]),
            Value::Text("y".repeat(70_000)),
        ];
        assert_eq!(read(&write(&values)), values);
    }

    #[test]
    fn what_a_server_cannot_mean_is_not_read() {
        assert!(read(&[0x03, 0x00, 0x01, b'a'].repeat(10_000)).is_empty());
        assert!(read(&[0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0x05]).is_empty());
        assert_eq!(read(&[0x05, 0x44]), [Value::Null]);
    }
}
