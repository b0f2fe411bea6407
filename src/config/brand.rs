//! What an operator puts on the pages to make them their own.

use std::fmt;
use std::path::{Path, PathBuf};

use super::accent::Accent;
use super::error::{BadConfig, bad, quoted};
use super::files::read_small;
use super::settings::Complete;

/// What the pages look like beside their own stylesheet.
#[derive(Clone, Debug)]
pub struct Brand {
    /// See [`Settings::brand_name`](super::Settings::brand_name).
    pub name: String,
    /// See [`Settings::accent_color`](super::Settings::accent_color).
    pub accent: Option<Accent>,
    /// See [`Settings::logo_file`](super::Settings::logo_file).
    pub logo: Option<Logo>,
}

/// It stands in one line above a form of 24 rem.
const LONGEST_NAME: usize = 40;

/// Checks what is set.
pub(super) fn brand(settings: &Complete) -> Result<Brand, BadConfig> {
    let name = settings.brand_name.trim().to_owned();
    if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
        return bad(format!("brand_name is {}: write 1 to {LONGEST_NAME} characters, in one line", quoted(&name)));
    }
    Ok(Brand { name, accent: settings.accent_color, logo: settings.logo_file.as_deref().map(Logo::read).transpose()? })
}

/// A picture of the operator's.
#[derive(Clone)]
pub struct Logo {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it is.
    pub kind: LogoKind,
}

/// The kinds of pictures that every browser shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogoKind {
    /// Scalable Vector Graphics.
    Svg,
    /// Portable Network Graphics.
    Png,
    /// `WebP`.
    Webp,
}

impl Logo {
    fn read(path: &Path) -> Result<Self, BadConfig> {
        let shown = path.display();
        let bytes =
            read_small(path).map_err(|error| BadConfig(format!("logo_file {shown} cannot be read: {error}")))?;
        let Some(kind) = LogoKind::of(&bytes) else {
            return bad(format!("logo_file {shown} is no SVG, PNG or WebP: give one of these"));
        };
        Ok(Self { path: path.to_owned(), bytes, kind })
    }
}

impl fmt::Debug for Logo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Logo").field(&self.path).finish()
    }
}

impl LogoKind {
    /// Reads the first bytes of a file.
    fn of(bytes: &[u8]) -> Option<Self> {
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        match bytes {
            _ if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => Some(Self::Png),
            _ if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") => Some(Self::Webp),
            _ if text.starts_with(b"<svg") => Some(Self::Svg),
            _ if text.starts_with(b"<?xml") && text.windows(4).any(|tag| tag == b"<svg") => Some(Self::Svg),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_logo_is_read_from_its_bytes() {
        for (bytes, wanted) in [
            (&b"<svg xmlns='http://www.w3.org/2000/svg'/>"[..], Some(LogoKind::Svg)),
            (b"\xef\xbb\xbf\n<?xml version='1.0'?>\n<svg/>", Some(LogoKind::Svg)),
            (b"<?xml version='1.0'?><html/>", None),
            (b"<html><svg/></html>", None),
            (b"\x89PNG\r\n\x1a\n....", Some(LogoKind::Png)),
            (b"RIFF....WEBPVP8 ", Some(LogoKind::Webp)),
            (b"RIFF....WAVEfmt ", None),
            (b"GIF89a", None),
            (b"", None),
        ] {
            assert_eq!(LogoKind::of(bytes), wanted, "{}", String::from_utf8_lossy(bytes));
        }
    }
}
