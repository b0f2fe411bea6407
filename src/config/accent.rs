//! The colour of links, of the main button and of the focus, which must be readable wherever it is shown.

use std::fmt;
use std::str::FromStr;

use super::error::{BadConfig, bad, quoted};

/// An accent colour, as it is on light pages and on dark ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accent {
    /// On light pages: as it is set.
    pub light: Color,
    /// On dark pages: the same with so much white in it that it can be read there.
    pub dark: Color,
}

/// A colour of sRGB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color([u8; 3]);

/// What the accent is read on, as `style.css` has it: the ground of light pages, and the cards of dark ones.
const LIGHT: Color = Color([0xf3, 0xf5, 0xf8]);
const DARK: Color = Color([0x19, 0x1d, 0x22]);
/// The least contrast of text (WCAG 2.2, success criterion 1.4.3).
const READABLE: f64 = 4.5;
/// The contrast that the accent has on dark pages: there, colours that just suffice look dull.
const BRIGHT: f64 = 7.0;

impl FromStr for Accent {
    type Err = BadConfig;

    fn from_str(text: &str) -> Result<Self, BadConfig> {
        let Some(light) = Color::read(text) else {
            return bad(format!("{} is no colour: write one such as #1d4ed8", quoted(text)));
        };
        let contrast = light.contrast(LIGHT);
        if contrast < READABLE {
            let darker = light.mixed_until(Color([0; 3]), |color| color.contrast(LIGHT) >= READABLE);
            return bad(format!(
                "{light} has a contrast of {contrast:.1} on light pages, where text needs {READABLE}: write a darker one, such as {darker}"
            ));
        }
        Ok(Self { light, dark: light.mixed_until(Color([0xff; 3]), |color| color.contrast(DARK) >= BRIGHT) })
    }
}

impl Color {
    fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let part = |at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Self([part(0)?, part(2)?, part(4)?]))
    }

    /// The relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    /// The contrast ratio (WCAG 2.2), from 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (one, other) = (self.luminance() + 0.05, other.luminance() + 0.05);
        one.max(other) / one.min(other)
    }

    /// This colour with as little of another in it as it takes.
    fn mixed_until(self, other: Self, suffices: impl Fn(Self) -> bool) -> Self {
        let mixed = (0..=100).map(|percent| self.mixed(other, percent));
        mixed.into_iter().find(|color| suffices(*color)).unwrap_or(other)
    }

    fn mixed(self, other: Self, percent: u16) -> Self {
        let [(red, r), (green, g), (blue, b)] = [0, 1, 2].map(|at| (self.0.get(at), other.0.get(at)));
        let mix = |one: Option<&u8>, other: Option<&u8>| {
            let (one, other) = (u16::from(*one.unwrap_or(&0)), u16::from(*other.unwrap_or(&0)));
            u8::try_from((one * (100 - percent) + other * percent) / 100).unwrap_or(u8::MAX)
        };
        Self([mix(red, r), mix(green, g), mix(blue, b)])
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contrast_is_that_of_wcag() {
        let color = |text| Color::read(text).expect(text);
        for (one, other, wanted) in [
            ("#000000", "#ffffff", 21.0),
            ("#777777", "#ffffff", 4.48),
            ("#1d4ed8", "#ffffff", 6.7),
            ("#fff000", "#fff000", 1.0),
        ] {
            let contrast = color(one).contrast(color(other));
            assert!((contrast - wanted).abs() < 0.01, "{one} {other}: {contrast}");
        }
    }

    #[test]
    fn an_accent_that_can_be_read_on_light_pages_is_made_to_be_read_on_dark_ones() {
        for text in ["#1d4ed8", "#0F766E", "#000000", "#b91c1c", "#7e22ce"] {
            let accent: Accent = text.parse().expect(text);
            assert_eq!(accent.light.to_string(), text.to_lowercase());
            assert!(accent.light.contrast(LIGHT) >= READABLE && accent.dark.contrast(DARK) >= BRIGHT, "{accent:?}");
        }
    }

    #[test]
    fn a_bad_accent_is_refused_and_what_is_offered_instead_is_taken() {
        for text in ["blue", "#12345", "#1234567", "#12345g", "1d4ed8", "#1d4ed8;", "#äää", ""] {
            let error = text.parse::<Accent>().expect_err(text).to_string();
            assert!(error.ends_with("is no colour: write one such as #1d4ed8"), "{error}");
        }
        for text in ["#ffdd00", "#ffffff", "#00ff88", "#ff8800", "#8899aa"] {
            let error = text.parse::<Accent>().expect_err(text).to_string();
            let (_, offered) = error.rsplit_once(' ').expect("several words");
            assert!(error.contains("has a contrast of") && offered.parse::<Accent>().is_ok(), "{error}");
        }
    }
}
