//! A small object out of a body or a query: named texts, flags and numbers, each name once.
//!
//! Bodies are read into this rather than into a struct so that each dialect can say in its own words which field is
//! missing, unknown or of the wrong type.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::http::refusal::{FieldError, Place, Problem, Refusal};

/// The most fields in one body or query, those of nested objects included. More make it malformed, so that looking
/// for a name among those already read never takes long.
const MOST: usize = 32;

/// Named values, in the order they were sent.
#[derive(Debug, Default)]
pub struct Fields {
    place: Option<Place>,
    values: Vec<(String, Value)>,
}

/// One value.
#[derive(Debug)]
enum Value {
    Text(String),
    Flag(bool),
    Number(i64),
    Group(Fields),
    Null,
    /// An array, a fraction: nothing that any route takes.
    Other,
}

impl Fields {
    /// Reads a JSON object. NUL in a text is refused, since not every store can keep it. A byte order mark before it is
    /// skipped (RFC 8259 section 8.1).
    ///
    /// # Errors
    /// [`Refusal::Malformed`], whatever is wrong, including more than 32 fields. A parser's message is not shown to
    /// clients.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let room = Room(Cell::new(MOST));
        let fields = Object(&room).deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
        fields.map_err(|_| Refusal::Malformed)
    }

    /// Reads a form body.
    ///
    /// # Errors
    /// [`Refusal::Malformed`] when it is not UTF-8, holds a NUL, names something twice or has more than 32 fields.
    pub fn from_form(bytes: &[u8]) -> Result<Self, Refusal> {
        Self::from_pairs(bytes, Place::Body).ok_or(Refusal::Malformed)
    }

    /// Reads a query string.
    ///
    /// # Errors
    /// As [`Self::from_form`].
    pub fn from_query(query: Option<&str>) -> Result<Self, Refusal> {
        Self::from_pairs(query.unwrap_or_default().as_bytes(), Place::Query).ok_or(Refusal::Malformed)
    }

    fn from_pairs(bytes: &[u8], place: Place) -> Option<Self> {
        let mut fields = Self { place: Some(place), values: Vec::new() };
        for (name, value) in form_urlencoded::parse(bytes) {
            if fields.values.len() == MOST {
                return None;
            }
            let fit = |text: &str| !text.contains(['\0', char::REPLACEMENT_CHARACTER]);
            if !fit(&name) || !fit(&value) || !fields.insert(name.into_owned(), Value::Text(value.into_owned())) {
                return None;
            }
        }
        Some(fields)
    }

    fn insert(&mut self, name: String, value: Value) -> bool {
        let new = !self.values.iter().any(|(known, _)| *known == name);
        self.values.push((name, value));
        new
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.values.iter().position(|(known, _)| known == name)?;
        Some(self.values.swap_remove(at).1)
    }

    fn wrong(&self, field: &str, problem: Problem) -> FieldError {
        FieldError { place: self.place.unwrap_or(Place::Body), field: field.to_owned(), problem }
    }

    /// Takes a text that must be there.
    ///
    /// # Errors
    /// [`Problem::Missing`] and [`Problem::NotText`].
    pub fn text(&mut self, name: &str) -> Result<String, FieldError> {
        self.optional_text(name)?.ok_or_else(|| self.wrong(name, Problem::Missing))
    }

    /// Takes a text that may be there.
    ///
    /// # Errors
    /// [`Problem::NotText`].
    pub fn optional_text(&mut self, name: &str) -> Result<Option<String>, FieldError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Flag(_) | Value::Number(_) | Value::Group(_) | Value::Null | Value::Other) => {
                Err(self.wrong(name, Problem::NotText))
            }
        }
    }

    /// Takes a text that may be there, and `Some(None)` for a null.
    ///
    /// # Errors
    /// [`Problem::NotText`].
    pub fn nullable_text(&mut self, name: &str) -> Result<Option<Option<String>>, FieldError> {
        if self.values.iter().any(|(known, value)| known == name && matches!(value, Value::Null)) {
            self.take(name);
            return Ok(Some(None));
        }
        Ok(self.optional_text(name)?.map(Some))
    }

    /// Takes a flag that may be there.
    ///
    /// # Errors
    /// [`Problem::NotFlag`].
    pub fn optional_flag(&mut self, name: &str) -> Result<Option<bool>, FieldError> {
        let is_there = self.values.iter().any(|(known, _)| known == name);
        let flag = self.flag(name)?;
        Ok(is_there.then_some(flag))
    }

    /// Takes a flag; false when it is not there. A form writes it as text.
    ///
    /// # Errors
    /// [`Problem::NotFlag`].
    pub fn flag(&mut self, name: &str) -> Result<bool, FieldError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Flag(flag)) => Ok(flag),
            Some(Value::Text(text)) if text == "true" && self.place.is_some() => Ok(true),
            Some(Value::Text(text)) if text == "false" && self.place.is_some() => Ok(false),
            Some(Value::Text(_) | Value::Number(_) | Value::Group(_) | Value::Null | Value::Other) => {
                Err(self.wrong(name, Problem::NotFlag))
            }
        }
    }

    /// Takes a whole number, not negative, that may be there.
    ///
    /// # Errors
    /// [`Problem::NotNumber`].
    pub fn number(&mut self, name: &str) -> Result<Option<usize>, FieldError> {
        let number = match self.take(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => usize::try_from(number).ok(),
            Some(Value::Text(text)) => text.parse().ok(),
            Some(Value::Flag(_) | Value::Group(_) | Value::Null | Value::Other) => None,
        };
        number.map(Some).ok_or_else(|| self.wrong(name, Problem::NotNumber))
    }

    /// Takes one of a few words that may be there.
    ///
    /// # Errors
    /// [`Problem::NotText`] and [`Problem::NoneOf`].
    pub fn word(&mut self, name: &str, words: &'static [&'static str]) -> Result<Option<&'static str>, FieldError> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        match words.iter().find(|word| **word == text) {
            Some(word) => Ok(Some(word)),
            None => Err(self.wrong(name, Problem::NoneOf(words))),
        }
    }

    /// Takes an object within this one.
    pub fn group(&mut self, name: &str) -> Option<Self> {
        match self.take(name) {
            Some(Value::Group(group)) => Some(group),
            Some(Value::Text(_) | Value::Flag(_) | Value::Number(_) | Value::Null | Value::Other) | None => None,
        }
    }

    /// Whether there is such a field and it is a text.
    pub fn has_text(&self, name: &str) -> bool {
        self.values.iter().any(|(known, value)| known == name && matches!(value, Value::Text(_)))
    }

    /// Takes all remaining fields, as names and whole numbers, where they are such.
    pub fn into_numbers(self) -> impl Iterator<Item = (String, Option<i64>)> {
        self.values.into_iter().map(|(name, value)| match value {
            Value::Number(number) => (name, Some(number)),
            Value::Text(_) | Value::Flag(_) | Value::Group(_) | Value::Null | Value::Other => (name, None),
        })
    }

    /// Refuses whatever was not taken.
    ///
    /// # Errors
    /// [`Problem::Unknown`].
    pub fn nothing_else(&self) -> Result<(), FieldError> {
        match self.values.first() {
            None => Ok(()),
            Some((name, _)) => Err(self.wrong(name, Problem::Unknown)),
        }
    }
}

/// How many more fields may be read.
struct Room(Cell<usize>);

impl Room {
    /// Takes the place of one field; false when there is none left.
    fn take(&self) -> bool {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.unwrap_or_default());
        left.is_some()
    }
}

/// Reads an object, as long as there is room for its fields.
struct Object<'r>(&'r Room);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Fields, D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key::<String>()? {
            if !self.0.take() {
                return Err(A::Error::custom("too many fields"));
            }
            let value = map.next_value_seed(Any(self.0))?;
            if name.contains('\0') || !fields.insert(name, value) {
                return Err(A::Error::custom("a name twice, or a NUL"));
            }
        }
        Ok(fields)
    }
}

/// Reads any value, as long as there is room for the fields of the objects in it.
struct Any<'r>(&'r Room);

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.visit_string(text.to_owned())
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Value, E> {
        if text.contains('\0') { Err(E::custom("a NUL")) } else { Ok(Value::Text(text)) }
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Other, Value::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Other)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        while seq.next_element_seed(Any(self.0))?.is_some() {}
        Ok(Value::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
        Object(self.0).visit_map(map).map(Value::Group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(json: &str) -> Fields {
        Fields::from_json(json.as_bytes()).expect(json)
    }

    #[test]
    fn each_problem_has_its_own_name() {
        let mut fields = fields(r#"{"n":1,"t":"x","f":true,"g":{"t":"y"},"o":null}"#);
        let problem = |result: Result<String, FieldError>| result.expect_err("a problem").problem;
        assert_eq!(problem(fields.text("gone")), Problem::Missing);
        assert_eq!(problem(fields.text("n")), Problem::NotText);
        assert_eq!(problem(fields.text("o")), Problem::NotText);
        assert_eq!(fields.text("t"), Ok("x".into()));
        assert_eq!(fields.flag("f"), Ok(true));
        assert_eq!(fields.flag("f"), Ok(false), "taken");
        assert_eq!(fields.group("g").expect("a group").text("t"), Ok("y".into()));
        assert_eq!(fields.nothing_else(), Ok(()));
    }

    #[test]
    fn a_name_twice_or_a_nul_is_malformed() {
        for json in
            [r#"{"a":1,"a":2}"#, r#"{"a":"\u0000"}"#, r#"{"a\u0000":1}"#, "[]", "1", "", "{", r#"{"a":"\ud800"}"#]
        {
            assert!(Fields::from_json(json.as_bytes()).is_err(), "{json}");
        }
        for form in ["a=1&a=2", "a=%00", "a=%ff"] {
            assert!(Fields::from_form(form.as_bytes()).is_err(), "{form}");
        }
    }

    #[test]
    fn what_an_array_holds_is_read_as_strictly_as_the_rest() {
        for json in [
            &b"{\"a\":[\"\xff\"]}"[..],
            br#"{"a":["\ud800"]}"#,
            br#"{"a":["\u0000"]}"#,
            br#"{"a":[{"b":1,"b":2}]}"#,
            br#"{"a":[1e999]}"#,
        ] {
            assert!(Fields::from_json(json).is_err(), "{}", json.escape_ascii());
        }
        assert!(Fields::from_json(br#"{"a":["x",{"b":[1.5,null]},-1]}"#).is_ok());
    }

    #[test]
    fn more_fields_than_any_route_takes_are_malformed_wherever_they_stand() {
        let members = |count: usize| (0..count).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",");
        let pairs = |count: usize| (0..count).map(|n| format!("{n}=")).collect::<Vec<_>>().join("&");
        assert!(Fields::from_json(format!("{{{}}}", members(MOST)).as_bytes()).is_ok());
        assert!(Fields::from_json(format!("{{{}}}", members(MOST + 1)).as_bytes()).is_err());
        let nested = format!("{{\"a\":{{{}}},\"b\":{{{}}}}}", members(MOST / 2), members(MOST / 2));
        assert!(Fields::from_json(nested.as_bytes()).is_err(), "counted together");
        assert!(Fields::from_form(pairs(MOST).as_bytes()).is_ok());
        assert!(Fields::from_form(pairs(MOST + 1).as_bytes()).is_err());
        assert!(Fields::from_query(Some(&pairs(MOST + 1))).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_skipped_once() {
        assert!(Fields::from_json(b"\xef\xbb\xbf{\"a\":1}").is_ok());
        assert!(Fields::from_json(b"\xef\xbb\xbf\xef\xbb\xbf{}").is_err());
        assert!(Fields::from_json(b"{} trailing").is_err());
    }

    #[test]
    fn a_bomb_of_brackets_is_refused() {
        let bomb = format!("{{\"a\":{}", "[".repeat(8000));
        assert!(Fields::from_json(bomb.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Fields::from_json(&bytes);
            let _ = Fields::from_form(&bytes);
        }

        #[test]
        fn a_form_gives_back_what_was_written(name in "[a-z]{1,8}", value in "\\PC{0,20}") {
            prop_assume!(!value.contains(char::REPLACEMENT_CHARACTER));
            let form = form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            prop_assert_eq!(Fields::from_form(form.as_bytes()).expect("a form").text(&name), Ok(value));
        }
    }
}
