//! The stack that was asked for: twelve crates carry the service, and each of them does some of the work.

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
