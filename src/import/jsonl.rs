//! JSON Lines: one user a line, with the name of the scheme of the hash. `export` writes them too.

use super::json::{Object, objects};
use super::record::{BadLine, Raw, Read, shown, time};
use crate::password::Scheme;

/// Every member that a line may have. Another one may be a misspelt `disabled`, so it is not ignored.
const MEMBERS: [&str; 11] = [
    "username",
    "scheme",
    "hash",
    "id",
    "email",
    "name",
    "admin",
    "disabled",
    "created_at",
    "must_change_password",
    "totp_secret",
];

/// Reads a file.
///
/// # Errors
/// Why the file as a whole cannot be read, in a sentence.
pub(super) fn read(file: &[u8]) -> Result<Read, String> {
    let mut read = Read::default();
    for (line, found) in objects(file)? {
        read.add(line, found.map_err(BadLine::of("")).and_then(|mut object| user(&mut object)));
    }
    Ok(read)
}

fn user(object: &mut Object) -> Result<Raw, BadLine> {
    let username = object.text("username").map_err(BadLine::of(""))?.unwrap_or_default();
    let mut rest = || {
        if let Some(unknown) = object.left().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(format!("its member `{}` is not known here", shown(unknown)));
        }
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
