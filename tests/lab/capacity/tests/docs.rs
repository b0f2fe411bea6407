//! The tables in the documentation are those that the simulation prints.

use sessiond_capacity::{Setting, largest, table};

const SCALING: &str = include_str!("../../../../docs/scaling.md");

#[test]
fn the_table_in_the_documentation_is_what_the_simulation_prints() {
    let table = table(&Setting::usual());
    assert!(SCALING.contains(&table), "docs/scaling.md does not have this:\n{table}");
}

#[test]
fn the_largest_numbers_of_replicas_in_the_documentation_are_those_of_the_simulation() {
    let largest = largest(&Setting::usual());
    assert!(SCALING.contains(&largest), "docs/scaling.md does not have this:\n{largest}");
}
