//! JSON Lines: one user a line, with the name of the scheme of the hash. `export` writes them too.

use std::collections::BTreeMap;

use super::json::{Object, objects};
use super::record::{BadLine, Raw, Read, time};
use crate::password::Scheme;

/// Reads a file.
///
/// # Errors
/// Why the file as a whole cannot be read, in a sentence.
pub(super) fn read(file: &[u8]) -> Result<Read, String> {
    let mut read = Read::default();
    let mut unknown = BTreeMap::<String, usize>::new();
    for (line, found) in objects(file)? {
        let found = found.map_err(BadLine::of("")).and_then(|mut object| {
            let raw = user(&mut object)?;
            for name in object.left() {
                *unknown.entry(name.clone()).or_default() += 1;
            }
            Ok(raw)
        });
        read.add(line, found);
    }
    // It may be a misspelt `disabled`, so it is said.
    let ignored = |(name, count): (&String, &usize)| {
        format!("the member `{}` of {count} users is not known here, and was ignored", super::shown(name))
    };
    read.notes.extend(unknown.iter().map(ignored));
    Ok(read)
}

fn user(object: &mut Object) -> Result<Raw, BadLine> {
    let username = object.text("username").map_err(BadLine::of(""))?.unwrap_or_default();
    let mut rest = || {
        let scheme = object.text("scheme")?.ok_or("it does not say which `scheme` its hash is of")?;
        let scheme = Scheme::named(&scheme).ok_or("its `scheme` is not one that is known here")?;
        let hash = object.text("hash")?.unwrap_or_default();
        if scheme == Scheme::None && !hash.is_empty() {
            return Err(String::from("its `scheme` is `none`, and yet it has a hash"));
        }
        let id =
            object.text("id")?.map(|id| id.parse().map_err(|_| "its id is not one of this service")).transpose()?;
        Ok(Raw {
            email: object.text("email")?,
            name: object.text("name")?,
            admin: object.flag("admin")?,
            disabled: object.flag("disabled")?,
            id,
            created_at: object.text("created_at")?.as_deref().map(time).transpose()?,
            must_change_password: object.flag("must_change_password")?,
            totp_secret: object.text("totp_secret")?,
            ..Raw::new(username.clone(), scheme, hash)
        })
    };
    rest().map_err(BadLine::of(&username))
}
