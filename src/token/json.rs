//! The JSON of a token's segments, strictly: one object, no key twice at any level, bounded nesting.

use super::refusal::JsonFault;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::fmt;

/// How deep objects and arrays may lie in each other. Kasm's tokens have two levels.
const MAX_DEPTH: usize = 16;

/// Parses one object. The size is bounded by the caller.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    let fault = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = Strict { depth: 0, fault: &fault }.deserialize(&mut deserializer);
    match parsed.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JsonFault::NotObject),
        Err(error) => Err(fault.get().unwrap_or_else(|| JsonFault::Syntax { position: position(bytes, &error) })),
    }
}

/// The byte, from 1, at which the parser gave up.
fn position(bytes: &[u8], error: &serde_json::Error) -> usize {
    let before: usize =
        bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1)).map(<[u8]>::len).sum();
    (before + error.column()).max(1)
}

#[derive(Clone, Copy)]
struct Strict<'f> {
    depth: usize,
    fault: &'f Cell<Option<JsonFault>>,
}

impl Strict<'_> {
    fn refuse<E: serde::de::Error>(self, fault: JsonFault) -> E {
        self.fault.set(Some(fault));
        E::custom("refused")
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(self.refuse(JsonFault::TooDeep));
        }
        Ok(Strict { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        serde_json::Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = sequence.next_element_seed(inner)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut object = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(self.refuse(JsonFault::DuplicateKey));
            }
            let value = map.next_value_seed(inner)?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_object_is_taken_whole() {
        let object = object(br#" {"a": [1, -2, 1.5, null, true, "x"], "b": {"a": {}}} "#).unwrap();
        assert_eq!(Value::Object(object), serde_json::json!({"a": [1, -2, 1.5, null, true, "x"], "b": {"a": {}}}));
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_at_every_level_and_however_it_is_written() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"x":{"a":1,"b":2,"a":3}}"#, r#"{"x":[{"a":1,"\u0061":2}]}"#] {
            assert_eq!(object(text.as_bytes()), Err(JsonFault::DuplicateKey), "{text}");
        }
        assert!(object(br#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(object(nested(MAX_DEPTH - 1).as_bytes()).is_ok());
        assert_eq!(object(nested(MAX_DEPTH).as_bytes()), Err(JsonFault::TooDeep));
        assert_eq!(object(nested(4000).as_bytes()), Err(JsonFault::TooDeep));
    }

    #[test]
    fn what_is_not_one_json_object_is_refused_with_its_place() {
        assert_eq!(object(b"[]"), Err(JsonFault::NotObject));
        assert_eq!(object(b"null"), Err(JsonFault::NotObject));
        assert_eq!(object(b"{} x"), Err(JsonFault::Syntax { position: 4 }));
        assert_eq!(object(b""), Err(JsonFault::Syntax { position: 1 }));
        assert_eq!(object(b"\xef\xbb\xbf{}"), Err(JsonFault::Syntax { position: 1 }));
        for text in ["{\"a\":NaN}", "{\"a\":Infinity}", "{\"a\":1e999}", "{'a':1}", "{\"a\":01}", "{\"a\":1,}"] {
            assert!(matches!(object(text.as_bytes()), Err(JsonFault::Syntax { .. })), "{text}");
        }
        assert!(matches!(object(b"{\"\xff\":1}"), Err(JsonFault::Syntax { .. })));
    }
}
