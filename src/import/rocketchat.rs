//! `mongoexport` of Rocket.Chat's `users`, one document a line or in one array.

use serde_json::Value;

use super::json::{Object, objects};
use super::record::{BadLine, Raw, Read, past, time};
use crate::domain::clock::Timestamp;
use crate::domain::id::UserId;
use crate::password::Scheme;

/// Reads a file.
///
/// # Errors
/// Why the file as a whole cannot be read, in a sentence.
pub(super) fn read(file: &[u8]) -> Result<Read, String> {
    let (mut read, mut by_email) = (Read::default(), 0);
    for (line, found) in objects(file)? {
        let found = found.map_err(BadLine::of("")).and_then(|mut document| {
            let (raw, codes_by_email) = user(&mut document)?;
            by_email += usize::from(codes_by_email && raw.totp_secret.is_none());
            Ok(raw)
        });
        read.add(line, found);
    }
    if by_email > 0 {
        read.notes.push(format!("{by_email} users get codes by e-mail there, and their password alone is enough here"));
    }
    let others = read.records.iter().filter(|record| record.id.is_none()).count();
    if others > 0 {
        read.notes.push(format!(
            "{others} users have an id that is not of 17 characters of this service: they get a new one"
        ));
    }
    Ok(read)
}

/// A user, and whether they get a code by e-mail at each login.
fn user(document: &mut Object) -> Result<(Raw, bool), BadLine> {
    let username = document.text("username").map_err(BadLine::of(""))?.unwrap_or_default();
    let mut rest = || {
        let mut services = document.object("services")?;
        let mut password = services.object("password")?;
        let bcrypt = password.text("bcrypt")?;
        if bcrypt.is_none() && password.value("argon2").is_some() {
            return Err(String::from("its hash is of Meteor's argon2, which is not taken over"));
        }
        // Bots, applications, and those who log in by LDAP or OAuth have none.
        let (scheme, hash) = bcrypt.map_or((Scheme::None, String::new()), |hash| (Scheme::RocketChat, hash));
        let mut totp = services.object("totp")?;
        let by_email = services.object("email2fa")?.flag("enabled")?;
        let roles = document.list("roles")?;
        if !roles.iter().all(Value::is_string) {
            return Err(String::from("its member `roles` must be a list of strings"));
        }
        let address = match document.list("emails")?.into_iter().next() {
            None => None,
            Some(first) => {
                let mut first = Object::of(first).ok_or("its member `emails` must be a list of objects")?;
                first.text("address")?
            }
        };
        let raw = Raw {
            email: address,
            name: document.text("name")?,
            admin: roles.iter().any(|role| role == "admin"),
            disabled: !document.flag_or("active", true)?,
            id: id(document)?,
            created_at: document.value("createdAt").map(date).transpose()?,
            must_change_password: document.flag("requirePasswordChange")?,
            totp_secret: if totp.flag("enabled")? { Some(totp.text("secret")?.unwrap_or_default()) } else { None },
            ..Raw::new(username.clone(), scheme, hash)
        };
        Ok((raw, by_email))
    };
    rest().map_err(BadLine::of(&username))
}

/// The id, if it is one of ours; those of the database itself are none.
fn id(document: &mut Object) -> Result<Option<UserId>, String> {
    match document.value("_id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => Ok(id.parse().ok()),
        Some(of_mongodb) => {
            let is_one = Object::of(of_mongodb).is_some_and(|mut id| id.text("$oid").is_ok_and(|id| id.is_some()));
            if is_one { Ok(None) } else { Err(String::from("its member `_id` must be a string")) }
        }
    }
}

/// A date in extended JSON: as text, as milliseconds, or as milliseconds in text.
fn date(value: Value) -> Result<Timestamp, String> {
    const NO_DATE: &str = "its `createdAt` is not a date of MongoDB's";
    let date = Object::of(value).and_then(|mut date| date.value("$date")).ok_or(NO_DATE)?;
    if let Some(text) = date.as_str() {
        return time(text);
    }
    let milliseconds = date.as_i64().or_else(|| {
        let number = Object::of(date)?.text("$numberLong").ok().flatten()?;
        number.parse().ok()
    });
    past(milliseconds.ok_or(NO_DATE)?)
}
