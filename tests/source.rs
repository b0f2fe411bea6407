//! Reads the source of the service: its files, their code without comments, and the string literals in them.

use std::path::{Path, PathBuf};

/// The folder of the service's source.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file in a folder, with those in its folders, by the path from there.
pub fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).expect("inside").to_str().expect("UTF-8").to_owned();
                found.push((name, std::fs::read_to_string(path).expect("a file")));
            }
        }
    }
    found.sort();
    found
}

/// The lines of a file without comments and without test code.
pub fn code(text: &str) -> Vec<String> {
    let mut testing = false;
    let lines = text.lines().map(|line| {
        testing |= line == "#[cfg(test)]" || line.starts_with("#[cfg(all(test,");
        let over = testing && (line == "}" || (line.ends_with(';') && !line.starts_with(' ')));
        let hidden = testing;
        testing &= !over;
        let comment = if line.trim_start().starts_with("//") { Some(0) } else { line.find(" //") };
        if hidden { String::new() } else { line[..comment.unwrap_or(line.len())].to_owned() }
    });
    lines.collect()
}

/// The string literals of a file as they stand there, each with the code in front of it on its line.
pub fn literals(text: &str) -> Vec<(String, String)> {
    let code = code(text).join("\n");
    let (mut found, mut rest) = (Vec::new(), code.as_str());
    while let Some(quote) = rest.find('"') {
        let (before, literal) = (&rest[..quote], &rest[quote + 1..]);
        // A quotation mark that is a character begins no text.
        if before.ends_with('\'') && literal.starts_with('\'') || before.ends_with("'\\") {
            rest = literal;
            continue;
        }
        let hashes = before.len() - before.trim_end_matches('#').len();
        let raw = before.trim_end_matches('#').ends_with('r');
        let end = if raw { literal.find(&format!("\"{}", "#".repeat(hashes))) } else { unescaped_quote(literal) };
        let end = end.expect("the end of a text");
        let line = before.rsplit('\n').next().unwrap_or_default().to_owned();
        found.push((line, literal[..end].to_owned()));
        rest = &literal[end + 1..];
    }
    found
}

/// Where a literal ends.
fn unescaped_quote(literal: &str) -> Option<usize> {
    let mut escaped = false;
    literal.char_indices().find_map(|(at, c)| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at)
    })
}

#[test]
fn literals_are_found_whatever_they_are_like() {
    let text = r##"let a = "one"; // "two"
        let b = ('"', '\"', r#"th"ree"#, b"fo\"ur", format!("{five}"), "si
x");"##;
    let found: Vec<_> = literals(text).into_iter().map(|(_, literal)| literal).collect();
    assert_eq!(found, ["one", "th\"ree", "fo\\\"ur", "{five}", "si\nx"]);
    assert!(literals(text)[3].0.ends_with("format!("), "{:?}", literals(text)[3]);
}
