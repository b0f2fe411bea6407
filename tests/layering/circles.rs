//! No two files need one another, directly or by way of others, inside a folder either.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Named, module, paths};
use crate::source;

/// Which files each file needs, and for each why: what it names of it, and on which line.
type Needs = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn no_files_need_one_another() {
    let found = circles(&needs(&source::files(&source::root())));
    let whys: Vec<_> = found.values().map(String::as_str).collect();
    assert!(whys.is_empty(), "files that need one another:\n{}", whys.join("\n"));
}

/// What needs what. A file that passes a name on is not needed for it, but the one that it comes from.
fn needs(files: &[(String, String)]) -> Needs {
    let files = files.iter().filter(|(file, _)| !file.split(['/', '.']).any(|part| part == "tests"));
    let modules: Modules<'_> =
        files.map(|(file, text)| (module(file), Source { file, text, named: paths(file, text) })).collect();
    let mut needs = Needs::new();
    for Source { file, named, .. } in modules.values() {
        // An imported module is needed for what is named of it.
        let imports = named.imports.iter().filter(|import| !import.public && !modules.contains_key(&import.path));
        let imports = imports.map(|import| (import.line, &import.path));
        let others = named.written_out.iter().chain(&named.through_imports).map(|(line, path)| (*line, path));
        for (line, path) in imports.chain(others) {
            if let Some(other) = defined_in(&modules, path, 8).filter(|other| other != *file) {
                let why = format!("line {line}: {}", path.join("::"));
                needs.entry((*file).clone()).or_default().entry(other).or_insert(why);
            }
        }
    }
    needs
}

struct Source<'f> {
    file: &'f String,
    text: &'f str,
    named: Named,
}

type Modules<'f> = BTreeMap<Vec<String>, Source<'f>>;

/// The file in which a path ends, through whatever imports its last name comes. `None`: nowhere here.
fn defined_in(modules: &Modules<'_>, path: &[String], patience: usize) -> Option<String> {
    let depth = (1..=path.len()).rev().find(|depth| modules.contains_key(&path[..*depth]))?;
    let Source { file, text, named } = &modules[&path[..depth]];
    let Some(item) = path.get(depth) else { return Some((*file).clone()) };
    if patience == 0 || defines(text, item) {
        return Some((*file).clone());
    }
    let by_name = named.imports.iter().filter(|import| import.name == *item).map(|import| import.path.clone());
    let by_star = named.imports.iter().filter(|import| import.name == "*").map(|import| {
        let (_, above) = import.path.split_last().expect("a star");
        [above, std::slice::from_ref(item)].concat()
    });
    let ways = by_name.chain(by_star).filter(|way| way.as_slice() != path);
    let found = ways.filter_map(|way| defined_in(modules, &way, patience - 1)).find(|other| other != *file);
    Some(found.unwrap_or_else(|| (*file).clone()))
}

/// Whether a file defines an item of that name.
fn defines(text: &str, item: &str) -> bool {
    ["fn", "struct", "enum", "trait", "const", "static", "type", "macro_rules!"].iter().any(|kind| {
        let words = format!("{kind} {item}");
        text.match_indices(&words)
            .any(|(at, _)| !text[at + words.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    })
}

/// Files that can be reached from one another, and how.
fn circles(needs: &Needs) -> BTreeMap<Vec<String>, String> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = needs.keys().map(|file| (file, reach(needs, file))).collect();
    let mut circles = BTreeMap::new();
    for (file, others) in &reached {
        let circle: Vec<String> = others
            .iter()
            .filter(|other| reached.get(**other).is_some_and(|theirs| theirs.contains(file)))
            .map(|other| (*other).clone())
            .collect();
        if circle.len() > 1 {
            let mut why = String::new();
            for from in &circle {
                for (to, line) in needs[from].iter().filter(|(to, _)| circle.contains(to)) {
                    why += &format!("  src/{from} needs src/{to} ({line})\n");
                }
            }
            circles.insert(circle, why);
        }
    }
    circles
}

fn reach<'n>(needs: &'n Needs, from: &String) -> BTreeSet<&'n String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = needs.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(file) = next.pop() {
        if reached.insert(file) {
            next.extend(needs.get(file).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

#[test]
fn a_planted_circle_is_found_and_a_name_that_is_passed_on_makes_none() {
    let files = |files: &[(&str, &str)]| -> Vec<(String, String)> {
        files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    };
    let circle = |all: &[(&str, &str)]| circles(&needs(&files(all))).into_keys().collect::<Vec<_>>();
    // Directly, by way of another file, and by a path that is written out.
    let two = [("a/b.rs", "use super::c::C;\npub struct B;"), ("a/c.rs", "pub struct C(crate::a::b::B);")];
    assert_eq!(circle(&two), [["a/b.rs", "a/c.rs"]]);
    let three = [
        ("a/mod.rs", "mod b;\nmod c;\nfn go() { b::go() }\npub struct A;"),
        ("a/b.rs", "pub fn go() { super::c::go() }"),
        ("a/c.rs", "use super::A;\npub fn go() {}"),
    ];
    assert_eq!(circle(&three), [["a/b.rs", "a/c.rs", "a/mod.rs"]]);
    // The folder's own file passes names on, its files take one another's from there, and tests do what they like.
    let none = [
        ("a/mod.rs", "mod b;\nmod c;\npub use self::b::B;\npub use c::*;"),
        ("a/b.rs", "pub struct B;\n#[cfg(test)]\nmod tests {\n    use super::super::C;\n}"),
        ("a/c.rs", "use super::b;\npub struct C(b::B);"),
    ];
    assert_eq!(circle(&none), Vec::<Vec<String>>::new());
}
