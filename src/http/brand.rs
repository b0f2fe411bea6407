//! What the pages look like: the stylesheet, the scripts, the icon and the operator's logo, under names made of their content, so that
//! browsers may keep them for a year.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use crate::config::{self, Accent, LogoKind};

const STYLE: &str = include_str!("pages/style.css");
const STRENGTH: &str = include_str!("pages/strength.js");
const ONCE: &str = include_str!("pages/once.js");
const COPY: &str = include_str!("pages/copy.js");
const ICON: &[u8] = include_bytes!("pages/icon.svg");

/// The operator's name for the service, and the files that pages are shown with.
#[derive(Debug)]
pub struct Brand {
    /// The name above the pages.
    pub name: String,
    /// The stylesheet.
    pub style: Asset,
    /// The script that says how easily a new password is guessed.
    pub strength: Asset,
    /// The script that sends a form once.
    pub once: Asset,
    /// The script that copies recovery codes.
    pub copy: Asset,
    /// The icon in the browser's tab.
    pub icon: Asset,
    /// The picture that stands above the pages instead of the name.
    pub logo: Option<Asset>,
}

/// A file that pages are shown with.
#[derive(Debug)]
pub struct Asset {
    /// Where it is.
    pub path: String,
    /// Its media type.
    pub kind: &'static str,
    /// The file.
    pub content: Bytes,
}

impl Brand {
    /// Makes the files.
    pub fn new(brand: &config::Brand) -> Self {
        let style = brand.accent.map_or_else(|| STYLE.to_owned(), |accent| STYLE.to_owned() + &colored(accent));
        let logo = brand.logo.as_ref().map(|logo| {
            let (extension, kind) = match logo.kind {
                LogoKind::Svg => ("svg", SVG),
                LogoKind::Png => ("png", "image/png"),
                LogoKind::Webp => ("webp", "image/webp"),
            };
            Asset::new("logo", extension, kind, logo.bytes.clone())
        });
        Self {
            name: brand.name.clone(),
            style: Asset::new("style", "css", "text/css; charset=utf-8", style),
            strength: Asset::new("strength", "js", SCRIPT, STRENGTH),
            once: Asset::new("once", "js", SCRIPT, ONCE),
            copy: Asset::new("copy", "js", SCRIPT, COPY),
            icon: Asset::new("icon", "svg", SVG, ICON),
            logo,
        }
    }

    /// The file at a path.
    pub fn asset(&self, path: &str) -> Option<&Asset> {
        let files = [&self.style, &self.strength, &self.once, &self.copy, &self.icon];
        files.into_iter().chain(&self.logo).find(|asset| asset.path == path)
    }
}

const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

impl Asset {
    fn new(name: &str, extension: &str, kind: &'static str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(&content));
        let path = format!("/assets/{name}-{}.{extension}", digest.get(..12).unwrap_or_default());
        Self { path, kind, content }
    }
}

/// What comes behind the stylesheet for an accent of the operator's.
fn colored(Accent { light, dark }: Accent) -> String {
    format!(
        ":root {{ --accent: {light}; }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ --accent: {dark}; }} }}\n"
    )
}
