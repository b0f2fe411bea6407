//! `#[needs(nginx)]` above a test: where there is no nginx the test is reported as ignored, and not as passed.
//!
//! The standard test harness decides at compile time which tests are ignored, so that the build script looks at the
//! machine and this crate turns what it found into attributes. Tests that need a path look for it when they run.

use proc_macro::{TokenStream, TokenTree};

/// A test that needs something: `initdb`, `faketime`, `nginx`, `haproxy` or `mount`, several separated by commas.
#[proc_macro_attribute]
pub fn needs(what: TokenStream, test: TokenStream) -> TokenStream {
    let mut absent = Vec::new();
    for token in what {
        if matches!(&token, TokenTree::Punct(mark) if mark.as_char() == ',') {
            continue;
        }
        match look_up(&token.to_string()) {
            Some((true, _)) => {}
            Some((false, name)) => absent.push(name),
            None => return code(&format!("compile_error!({:?});", format!("{token} is nothing that a test can need"))),
        }
    }
    if absent.is_empty() {
        return test;
    }
    let mut ignored = code(&format!("#[ignore = {:?}]", format!("needs {}", absent.join(" and "))));
    ignored.extend(test);
    ignored
}

/// Items that are there only with PostgreSQL; without it one ignored test stands for all that are in them.
#[proc_macro]
pub fn needs_postgres(items: TokenStream) -> TokenStream {
    if cfg!(has_postgres) {
        return items;
    }
    code(
        r#"#[test]
        #[ignore = "needs initdb and pg_ctl of PostgreSQL 15 or newer, or SESSIOND_TEST_POSTGRES_URL"]
        fn postgresql_is_tested_too() {
            panic!("there is no PostgreSQL here");
        }"#,
    )
}

/// Whether the machine has it, and what it is called.
fn look_up(word: &str) -> Option<(bool, &'static str)> {
    Some(match word {
        "initdb" => (cfg!(has_initdb), "initdb and pg_ctl of PostgreSQL 15 or newer"),
        "faketime" => (cfg!(has_faketime), "libfaketime"),
        "nginx" => (cfg!(has_nginx), "nginx"),
        "haproxy" => (cfg!(has_haproxy), "haproxy"),
        "mount" => (cfg!(has_mount), "the right to mount a file system"),
        _ => return None,
    })
}

fn code(text: &str) -> TokenStream {
    text.parse().expect("Rust")
}
