//! JSON objects, one a line or in one array, with the line at which each begins. What is wrong with one is said in words of
//! our own: those of the parser may hold the value, and that may be a hash.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::lines::{bounded, lines, without_mark};

/// An object whose members are taken out one by one.
#[derive(Debug)]
pub(super) struct Object(Map<String, Value>);

impl Object {
    /// A value, if it is an object.
    pub(super) fn of(value: Value) -> Option<Self> {
        if let Value::Object(members) = value { Some(Self(members)) } else { None }
    }

    /// A member that is text, if it is there and not null.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("its member `{name}` must be a string")),
        }
    }

    /// A member that is true or false; false where it is not there.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, String> {
        self.flag_or(name, false)
    }

    /// A member that is true or false; `otherwise` where it is not there.
    pub(super) fn flag_or(&mut self, name: &str, otherwise: bool) -> Result<bool, String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(otherwise),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(format!("its member `{name}` must be true or false")),
        }
    }

    /// A member that is an object; an empty one where it is not there.
    pub(super) fn object(&mut self, name: &str) -> Result<Self, String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(Self(Map::new())),
            Some(Value::Object(members)) => Ok(Self(members)),
            Some(_) => Err(format!("its member `{name}` must be an object")),
        }
    }

    /// A member that is a list; an empty one where it is not there.
    pub(super) fn list(&mut self, name: &str) -> Result<Vec<Value>, String> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(format!("its member `{name}` must be a list")),
        }
    }

    /// Whatever a member is.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// The names of the members that were not taken out yet.
    pub(super) fn left(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }
}

/// Refuses a member that stands in an object twice, of which one would be chosen silently.
impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom(TWICE));
                    }
                }
                Ok(Object(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

const TWICE: &str = "a member stands in it twice";

/// An object, or why there is none.
type Found = Result<Object, String>;

/// The objects of a file, with the numbers of their lines.
///
/// # Errors
/// Why the file as a whole cannot be read, in a sentence.
pub(super) fn objects(file: &[u8]) -> Result<Vec<(usize, Found)>, String> {
    let text = without_mark(file)?.trim_ascii_start();
    if text.starts_with(b"[") {
        return in_an_array(file, text);
    }
    let parse = |line| serde_json::from_str(line).map_err(|error| words(&error));
    Ok(lines(file)?.into_iter().map(|(number, line)| (number, line.and_then(parse))).collect())
}

fn in_an_array(file: &[u8], text: &[u8]) -> Result<Vec<(usize, Found)>, String> {
    let mut objects = Vec::new();
    let mut rest = text.get(1..).unwrap_or_default().trim_ascii_start();
    // Lines are counted on from object to object.
    let (mut line, mut counted) = (1, file.len());
    if rest.starts_with(b"]") {
        return end(rest).map(|()| objects);
    }
    loop {
        let passed = file.get(file.len() - counted..file.len() - rest.len()).unwrap_or_default();
        line += passed.split(|byte| *byte == b'\n').count() - 1;
        counted = rest.len();
        let mut stream = serde_json::Deserializer::from_slice(rest).into_iter::<Value>();
        let found = match stream.next() {
            Some(Ok(Value::Object(_))) => {
                let object = rest.get(..stream.byte_offset()).unwrap_or_default();
                serde_json::from_slice(object).map_err(|error| words(&error))
            }
            Some(Ok(_)) => Err(String::from("it is not a JSON object")),
            Some(Err(_)) | None => {
                return Err(format!("the file is not JSON: see the object that begins in line {line}"));
            }
        };
        objects.push((line, found));
        bounded(objects.len())?;
        rest = rest.get(stream.byte_offset()..).unwrap_or_default().trim_ascii_start();
        match rest.split_first() {
            Some((b',', more)) => rest = more.trim_ascii_start(),
            _ => return end(rest).map(|()| objects),
        }
    }
}

/// Nothing may stand behind an array.
fn end(rest: &[u8]) -> Result<(), String> {
    if rest.trim_ascii_end() == b"]" { Ok(()) } else { Err(String::from("the file is not one JSON array")) }
}

fn words(error: &serde_json::Error) -> String {
    if error.to_string().starts_with(TWICE) {
        return TWICE.to_owned();
    }
    format!("it is not a JSON object (see column {})", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str) -> Vec<(usize, Option<String>)> {
        let objects = objects(file.as_bytes()).expect("readable");
        objects
            .into_iter()
            .map(|(line, found)| (line, found.ok().and_then(|mut it| it.text("a").expect("text"))))
            .collect()
    }

    #[test]
    fn objects_are_found_with_their_lines() {
        let (x, y) = (Some("x".to_owned()), Some("y".to_owned()));
        assert_eq!(found("{\"a\":\"x\"}\n\n{\"a\":\"y\"}\r\n"), [(1, x.clone()), (3, y.clone())]);
        assert_eq!(found("\u{feff}[\n{\"a\":\n\"x\"},\n\n{\"a\":\"y\"}\n]\n"), [(2, x.clone()), (5, y)]);
        assert_eq!(found("[{\"a\":\"x\"}, 5]"), [(1, x), (1, None)]);
        assert_eq!(found(" [ ] "), []);
        assert_eq!(found(""), []);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_value() {
        for bad in ["{\"a\":\"secret\"", "\"secret\"", "{\"a\":\"secret\",\"a\":\"secret\"}", "[\"secret\"]x"] {
            match objects(bad.as_bytes()) {
                Ok(objects) => {
                    let why = objects[0].1.as_ref().expect_err(bad);
                    assert!(!why.contains("secret"), "{why}");
                }
                Err(why) => assert!(!why.contains("secret"), "{why}"),
            }
        }
        let mut object = Object(Map::from_iter([("a".to_owned(), Value::from(5))]));
        assert_eq!(object.text("a"), Err("its member `a` must be a string".to_owned()));
        for file in ["[{}", "[{}}", "[{}]{}", "[{},]", "[\n\n{\"a\":}]"] {
            assert!(objects(file.as_bytes()).is_err(), "{file}");
        }
    }
}
