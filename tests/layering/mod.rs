//! The picture in `lib.rs` holds: a file imports only from floors below its own, or from its own folder.

use self::paths::paths;
use crate::source::{self, code};

mod circles;
mod paths;

/// Which floor a module stands on.
const FLOORS: [(&str, u8); 14] = [
    ("config", 0),
    ("domain", 0),
    ("outbound", 0),
    ("password", 1),
    ("telemetry", 1),
    ("store", 2),
    ("cache", 3),
    ("import", 3),
    ("service", 4),
    ("http", 5),
    ("app", 6),
    ("cli", 7),
    ("lib", 8),
    ("main", 8),
];
/// Who may import from whom on the same floor.
const SIBLINGS: [(&str, &str); 2] = [("config", "domain"), ("password", "telemetry")];
/// Which modules may know which libraries.
const LIBRARIES: [(&str, &[&str]); 7] = [
    ("sqlx", &["store", "import"]),
    ("rustls", &["store", "cli", "telemetry", "outbound"]),
    ("axum", &["http"]),
    ("hyper", &["http"]),
    ("http", &["http"]),
    ("tower", &["http"]),
    ("tower_http", &["http"]),
];

#[test]
fn every_import_goes_down() {
    let files = source::files(&source::root());
    assert!(files.len() > 40, "{} files", files.len());
    let mut imports = 0;
    let mut violations = Vec::new();
    for (name, text) in &files {
        imports += paths(name, text).direct().len();
        violations.extend(check(name, text));
    }
    assert!(imports > 100, "{imports}");
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

#[test]
fn a_planted_violation_is_found() {
    for (file, text, lines) in [
        ("domain/id.rs", "use crate::store::Store;", vec![1]),
        ("service/login.rs", "\n\nuse crate::{\n    cache::Cache,\n    app::Running,\n};", vec![5]),
        (
            "service/login.rs",
            "use axum::Router;\nuse sqlx::Row;\nuse http::StatusCode;\nuse hyper::body;",
            vec![1, 2, 3, 4],
        ),
        ("service/mod.rs", "fn f() { crate::app::serve(); }", vec![1]),
        ("cache.rs", "use super::http::refusal;", vec![1]),
        ("store/sqlite/writer.rs", "use super::super::super::service::Error;", vec![1]),
        ("http/refusal.rs", "use sqlx::Row;", vec![1]),
        ("app.rs", "use axum::Router;", vec![1]),
    ] {
        let found: Vec<_> = check(file, text).into_iter().map(|v| v.split(": ").next().map(str::to_owned)).collect();
        let expected: Vec<_> = lines.into_iter().map(|line| Some(format!("src/{file}:{line}"))).collect();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    for (file, text) in [
        (
            "http/refusal.rs",
            "use crate::service::Error;\nuse super::dialect::Owner;\nuse axum::Router;\nuse http::Method;",
        ),
        ("app.rs", "use crate::http::request::state::App;"),
        ("store/sqlite/writer.rs", "use super::super::{Logout, Result};\nuse sqlx::Row;"),
        ("cache.rs", "//! See [`crate::http`].\n/// crate::app\nconst X: u8 = 1; // crate::app"),
        ("domain/id.rs", "#[cfg(test)]\nmod tests {\n    use crate::app::serve;\n}"),
        ("service/mod.rs", "const URL: &str = \"http://localhost\";"),
    ] {
        assert_eq!(check(file, text), Vec::<String>::new(), "{text}");
    }
}

/// What one file imports against the table, as `src/file:line: why`.
fn check(file: &str, text: &str) -> Vec<String> {
    let module = file.split(['/', '.']).next().expect("a module");
    let floor = |module: &str| FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor);
    let Some(own) = floor(module) else { return vec![format!("src/{file}:1: {module} stands on no floor")] };
    let lines = code(text);
    let mut found = Vec::new();
    for (line, imported) in
        paths(file, text).direct().into_iter().filter_map(|(line, path)| Some((line, path.first()?)))
    {
        let why = match floor(imported) {
            _ if imported == module || SIBLINGS.contains(&(module, imported)) => continue,
            // What `lib.rs` itself defines is nothing but the modules.
            None => format!("{imported} stands on no floor"),
            Some(theirs) if theirs < own => continue,
            Some(theirs) => format!("{module} ({own}) imports from {imported} ({theirs})"),
        };
        found.push(format!("src/{file}:{line}: {why}"));
    }
    for (at, line) in lines.iter().enumerate() {
        for (library, knows) in LIBRARIES {
            let starts = |(start, _): &(usize, &str)| {
                let before = line[..*start].chars().next_back();
                !before.is_some_and(|c| c.is_alphanumeric() || "_:\"".contains(c))
            };
            if !knows.contains(&module) && line.match_indices(&format!("{library}::")).any(|found| starts(&found)) {
                found.push(format!("src/{file}:{}: {module} knows {library}", at + 1));
            }
        }
    }
    found
}
