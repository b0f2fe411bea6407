//! Finds the paths that a file names, and where in the crate each leads.

use crate::source::code;

/// The paths into the crate that a file names outside its tests, from the root of the crate, each with its line.
#[derive(Default)]
pub struct Named {
    /// Those that it imports.
    pub imports: Vec<Import>,
    /// Those that are written out.
    pub written_out: Vec<(usize, Vec<String>)>,
    /// Those that begin with an imported name.
    pub through_imports: Vec<(usize, Vec<String>)>,
}

/// A path that is imported.
pub struct Import {
    /// The line it stands on.
    pub line: usize,
    /// The path.
    pub path: Vec<String>,
    /// The name that it has in the file from then on.
    pub name: String,
    /// Whether others see that name too: the file may not need it itself.
    pub public: bool,
}

impl Named {
    /// The paths that are complete in themselves, line by line.
    pub fn direct(&self) -> Vec<(usize, &[String])> {
        let imports = self.imports.iter().map(|import| (import.line, import.path.as_slice()));
        let written_out = self.written_out.iter().map(|(line, path)| (*line, path.as_slice()));
        let mut direct: Vec<_> = imports.chain(written_out).collect();
        direct.sort();
        direct
    }
}

/// The module that a file is, from the root of the crate.
pub fn module(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let parts = path.split('/').filter(|part| !["lib", "main", "mod"].contains(part));
    parts.map(str::to_owned).collect()
}

/// Reads the paths that a file names.
pub fn paths(file: &str, text: &str) -> Named {
    let module = module(file);
    let mut text = code(text).join("\n");
    let children: Vec<String> = text.lines().filter_map(child).collect();
    let mut named = Named::default();
    while let Some((start, end, public)) = import(&text) {
        let line = text[..start].matches('\n').count() + 1;
        let mut leaves = Vec::new();
        expand(&text[start..end], line, &mut leaves);
        for (line, segments, name) in leaves {
            if let Some(path) = absolute(&module, &children, &segments) {
                named.imports.push(Import { line, path, name, public });
            }
        }
        // What was read is taken out; the lines stay.
        let begin = text[..start].rfind("use").unwrap_or(start);
        let blank: String = text[begin..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        text.replace_range(begin..end, &blank);
    }
    for (at, line) in text.lines().enumerate() {
        for segments in written_out(line) {
            let imported = named.imports.iter().find(|import| import.name == segments[0]);
            if let Some(import) = imported {
                named.through_imports.push((at + 1, [&import.path[..], &segments[1..]].concat()));
            } else if let Some(path) = absolute(&module, &children, &segments) {
                named.written_out.push((at + 1, path));
            }
        }
    }
    named
}

/// The name of a module that a line declares.
fn child(line: &str) -> Option<String> {
    let declared = line.split("mod ").nth(1)?.strip_suffix(';')?;
    (line.starts_with("mod ") || line.starts_with("pub")).then(|| declared.to_owned())
}

/// Where the tree of the next import begins and ends, and whether it is public.
fn import(text: &str) -> Option<(usize, usize, bool)> {
    let mut from = 0;
    loop {
        let at = from + text[from..].find("use ")?;
        let before = text[..at].rsplit('\n').next().unwrap_or_default().trim();
        if before.is_empty() || before.starts_with("pub") {
            let end = at + text[at..].find(';')?;
            return Some((at + "use ".len(), end, before.starts_with("pub")));
        }
        from = at + 1;
    }
}

/// The leaves of a tree: its line, its segments, and the name that it is imported under.
fn expand(tree: &str, line: usize, leaves: &mut Vec<(usize, Vec<String>, String)>) {
    fn go(tree: &str, line: usize, above: &[String], leaves: &mut Vec<(usize, Vec<String>, String)>) {
        let line = line + tree[..tree.len() - tree.trim_start().len()].matches('\n').count();
        let trimmed = tree.trim();
        let (path, rest) = trimmed.split_once('{').map_or((trimmed, None), |(path, rest)| (path, Some(rest)));
        let mut segments = above.to_vec();
        let (path, alias) = path.split_once(" as ").map_or((path, None), |(path, alias)| (path, Some(alias.trim())));
        segments.extend(path.split("::").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
        let Some(group) = rest.and_then(|rest| rest.rsplit_once('}')).map(|(group, _)| group) else {
            // `a::{self}` is `a`.
            if above.len() + 1 == segments.len()
                && !above.is_empty()
                && segments.last().is_some_and(|last| last == "self")
            {
                segments.pop();
            }
            let name = alias.or(segments.last().map(String::as_str)).unwrap_or_default().to_owned();
            leaves.push((line, segments, name));
            return;
        };
        let mut begun = line + path.matches('\n').count();
        let (mut depth, mut from) = (0, 0);
        for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    let part = &group[from..at];
                    if !part.trim().is_empty() {
                        go(part, begun, &segments, leaves);
                    }
                    begun += part.matches('\n').count();
                    from = at + 1;
                }
                _ => {}
            }
        }
    }
    go(tree, line, &[], leaves);
}

/// The paths of at least two segments on a line.
fn written_out(line: &str) -> Vec<Vec<String>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut words = line.split("::").peekable();
    let mut segments: Vec<String> = Vec::new();
    while let Some(piece) = words.next() {
        let first = piece.find(|c| !is_word(c)).unwrap_or(piece.len());
        let last =
            piece.rfind(|c| !is_word(c)).map_or(0, |at| at + piece[at..].chars().next().map_or(1, char::len_utf8));
        if !segments.is_empty() {
            if first > 0 {
                segments.push(piece[..first].to_owned());
            }
            if first < piece.len() || words.peek().is_none() {
                found.push(std::mem::take(&mut segments));
            }
        }
        if segments.is_empty() && last < piece.len() && words.peek().is_some() {
            segments.push(piece[last..].to_owned());
        }
    }
    found.retain(|segments| segments.len() > 1);
    found
}

/// A path from the root of the crate; none when it leads to another crate.
fn absolute(module: &[String], children: &[String], segments: &[String]) -> Option<Vec<String>> {
    let above = match segments.first()?.as_str() {
        "crate" => &[],
        "self" | "super" => module,
        child if children.iter().any(|name| name == child) => module,
        _ => return None,
    };
    let begin = segments.iter().take_while(|part| ["crate", "self", "super"].contains(&part.as_str()));
    let up = begin.clone().filter(|part| *part == "super").count();
    Some([&above[..above.len().saturating_sub(up)], &segments[begin.count()..]].concat())
}

#[test]
fn every_way_to_name_a_path_is_read() {
    let text = "mod writer;\nuse super::{\n    Logout,\n    rows::{self, Row as Found},\n};\npub use self::writer::Writer;\n\
                use crate::domain::clock::*;\nuse axum::Router;\n\
                fn f() { writer::go(crate::cache::get::<u8>(), super::super::x(), rows::of(Router::new())); }";
    let named = paths("store/sqlite/mod.rs", text);
    let imports: Vec<_> =
        named.imports.iter().map(|i| (i.line, i.path.join("::"), i.name.as_str(), i.public)).collect();
    let expected = [
        (3, "store::Logout", "Logout", false),
        (4, "store::rows", "rows", false),
        (4, "store::rows::Row", "Found", false),
        (6, "store::sqlite::writer::Writer", "Writer", true),
        (7, "domain::clock::*", "*", false),
    ];
    assert_eq!(imports, expected.map(|(line, path, name, public)| (line, path.to_owned(), name, public)));
    let joined = |paths: &[(usize, Vec<String>)]| paths.iter().map(|(_, path)| path.join("::")).collect::<Vec<_>>();
    assert_eq!(joined(&named.written_out), ["store::sqlite::writer::go", "cache::get", "x"]);
    assert_eq!(joined(&named.through_imports), ["store::rows::of"]);
    assert_eq!(named.direct().len(), 8);
}
