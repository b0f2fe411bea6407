//! `dumpdata` of Django's users, as one array or as JSON Lines.

use super::json::{Object, objects};
use super::record::{BadLine, Raw, Read, time};
use crate::password::Scheme;

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
    let mut fields = object.object("fields").map_err(BadLine::of(""))?;
    let username = fields.text("username").map_err(BadLine::of(""))?.unwrap_or_default();
    let mut rest = || {
        // A model of one's own has another name, and these fields nonetheless.
        let hash = fields.text("password")?.ok_or("it is no user: it has no field `password`")?;
        let active = fields.flag_or("is_active", true)?;
        let names = [fields.text("first_name")?, fields.text("last_name")?].map(Option::unwrap_or_default);
        Ok(Raw {
            email: fields.text("email")?,
            name: Some(names.join(" ")),
            admin: fields.flag("is_superuser")?,
            disabled: !active,
            created_at: fields.text("date_joined")?.as_deref().map(time).transpose()?,
            ..Raw::new(username.clone(), Scheme::Django, hash)
        })
    };
    rest().map_err(BadLine::of(&username))
}
