//! The stack that was asked for: twelve crates carry the service, and each of them does some of the work.

use crate::source;

const STACK: [&str; 12] = [
    "axum",
    "tokio",
    "tower",
    "tower-http",
    "serde",
    "serde_json",
    "sqlx",
    "argon2",
    "rand",
    "cookie",
    "tracing",
    "tracing-subscriber",
];

#[test]
fn every_crate_of_the_stack_is_a_dependency_of_the_service() {
    let manifest: toml::Table = include_str!("../Cargo.toml").parse().expect("TOML");
    let dependencies = manifest["dependencies"].as_table().expect("a table");
    let missing: Vec<_> = STACK.into_iter().filter(|name| !dependencies.contains_key(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_crate_of_the_stack_is_used_in_the_source() {
    let code: Vec<String> = source::files(&source::root()).iter().flat_map(|(_, text)| source::code(text)).collect();
    let unused: Vec<_> = STACK.into_iter().filter(|name| !code.iter().any(|line| names(line, name))).collect();
    assert_eq!(unused, Vec::<&str>::new());
}

/// Whether a line of code names a crate.
fn names(line: &str, name: &str) -> bool {
    let path = format!("{}::", name.replace('-', "_"));
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_:".contains(c))
    })
}

#[test]
fn a_crate_is_named_by_its_own_name_only() {
    for (line, named) in [
        ("use tower::ServiceBuilder;", true),
        ("fn f() -> tower::BoxError {", true),
        ("use tower_http::trace::TraceLayer;", false),
        ("use crate::tower::Tower;", false),
    ] {
        assert_eq!(names(line, "tower"), named, "{line}");
    }
}

#[test]
fn sqlx_is_the_only_database_driver() {
    let lock = include_str!("../Cargo.lock");
    for driver in ["rusqlite", "tokio-postgres", "tokio-postgres-rustls"] {
        assert!(!lock.contains(&format!("name = \"{driver}\"\n")), "{driver} is in Cargo.lock");
    }
}
