//! A QR code as the path of an inline SVG.

use std::fmt::Write as _;

use qrcodegen::{QrCode, QrCodeEcc};

/// How wide the quiet zone around a code is, in modules (ISO/IEC 18004).
const QUIET: i32 = 4;

/// A drawn code.
#[derive(Debug)]
pub struct Drawing {
    /// The width and the height, in modules, quiet zone included.
    pub size: i32,
    /// The dark modules, as the `d` of a path.
    pub path: String,
}

/// Draws a text. `None` for one that is too long.
pub fn draw(text: &str) -> Option<Drawing> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let mut path = String::new();
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let run = (x..code.size()).take_while(|x| code.get_module(*x, y)).count();
            let run = i32::try_from(run).ok()?;
            if run > 0 {
                // Writing to a string never fails.
                let _ = write!(path, "M{} {}h{run}v1h-{run}z", x + QUIET, y + QUIET);
            }
            x += run + 1;
        }
    }
    Some(Drawing { size: code.size() + 2 * QUIET, path })
}

#[cfg(test)]
mod tests {
    use sessiond_needs::needs;

    use super::*;

    /// The picture that a path draws, as a portable bitmap with four dots a module.
    fn bitmap(drawing: &Drawing) -> Vec<u8> {
        let (size, scale) = (usize::try_from(drawing.size).expect("small"), 4);
        let mut dark = vec![false; size * size];
        for part in drawing.path.split('z').filter(|part| !part.is_empty()) {
            let numbers: Vec<usize> =
                part.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect();
            let [x, y, run, 1, _] = numbers[..] else { panic!("{part}") };
            dark[y * size + x..y * size + x + run].fill(true);
        }
        let mut bitmap = format!("P1 {} {}\n", size * scale, size * scale);
        for y in 0..size * scale {
            for x in 0..size * scale {
                bitmap.push(if dark[y / scale * size + x / scale] { '1' } else { '0' });
            }
            bitmap.push('\n');
        }
        bitmap.into_bytes()
    }

    #[needs(zbarimg)]
    #[test]
    fn another_library_reads_the_text_that_was_drawn() {
        let secret = crate::domain::second_factor::totp::TotpSecret::from_bytes(vec![7; 20]).expect("20 bytes");
        let odd = crate::domain::second_factor::uri::otpauth(&secret, "Zoë: a&b?#%", "ünn@example.com");
        let long = crate::domain::second_factor::uri::otpauth(&secret, &"ü".repeat(40), &"日".repeat(64));
        for text in [odd.reveal(), long.reveal(), "otpauth://totp/a:b?secret=A"] {
            let folder = tempfile::tempdir().expect("a folder");
            let file = folder.path().join("code.pbm");
            std::fs::write(&file, bitmap(&draw(text).expect("it fits"))).expect("written");
            let read = std::process::Command::new("zbarimg").args(["--quiet", "--raw"]).arg(&file).output();
            let read = String::from_utf8(read.expect("it runs").stdout).expect("text");
            assert_eq!(read.trim_end_matches('\n'), text);
        }
    }

    #[test]
    fn what_does_not_fit_is_not_drawn() {
        assert!(draw(&"x".repeat(4000)).is_none());
    }
}
