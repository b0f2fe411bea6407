//! `#[on_both_stores]` makes two tests of one, and `#[needs(nginx)]` marks a test that this machine may be unable to run.
//!
//! The standard test harness decides at compile time which tests are ignored. So the build script looks at the machine, and
//! this crate turns what it found into attributes: a test that lacks something is reported as ignored, and not as passed.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// A test that needs something: `postgres`, `initdb`, `pgbouncer`, `patroni`, `fail2ban`, `faketime`, `oathtool`, `zbarimg`,
/// `systemd`, `prometheus`, `mount`, `root`, a proxy such as `nginx`, or what makes hashes such as `htpasswd`, several
/// separated by commas. It stands above the attribute that makes a test of the function.
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
            None => return error(&format!("{token} is nothing that a test can need")),
        }
    }
    if absent.is_empty() {
        return test;
    }
    let mut ignored = code(&format!("#[ignore = {:?}]", format!("needs {}", absent.join(" and "))));
    ignored.extend(test);
    ignored
}

/// Two tests of an `async fn` that takes a `StoreKind`: `its_name::sqlite`, and `its_name::postgres`, which needs
/// `postgres`.
#[proc_macro_attribute]
pub fn on_both_stores(_: TokenStream, function: TokenStream) -> TokenStream {
    let (mut inherited, mut rest) = (TokenStream::new(), TokenStream::new());
    let mut tokens = function.into_iter().peekable();
    // Only what `needs` has put there concerns the tests; everything else belongs to the function.
    while let Some(TokenTree::Punct(_)) = tokens.peek() {
        let attribute: TokenStream = tokens.by_ref().take(2).collect();
        let ignore = attribute.clone().into_iter().nth(1).is_some_and(|brackets| match brackets {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                group.stream().into_iter().next().is_some_and(|word| word.to_string() == "ignore")
            }
            _ => false,
        });
        if ignore { inherited.extend(attribute) } else { rest.extend(attribute) }
    }
    rest.extend(tokens);
    let mut words = rest.clone().into_iter();
    let Some(name) = words.find(|word| word.to_string() == "fn").and_then(|_| words.next()) else {
        return error("only a function can be a test");
    };
    // One reason to be ignored is enough.
    let needs = if inherited.is_empty() { "#[::sessiond_needs::needs(postgres)]" } else { "" };
    let tests = format!(
        "mod {name} {{
             use crate::harness::StoreKind;
             {inherited} #[tokio::test]
             async fn sqlite() {{ super::{name}(StoreKind::Sqlite).await; }}
             {inherited} {needs} #[tokio::test]
             async fn postgres() {{ super::{name}(StoreKind::Postgres).await; }}
         }}"
    );
    rest.extend(code(&tests));
    rest
}

/// Whether the machine has it, and what it is called.
fn look_up(word: &str) -> Option<(bool, &'static str)> {
    Some(match word {
        "postgres" => {
            (cfg!(has_postgres), "initdb and pg_ctl of PostgreSQL 15 or newer, or SESSIOND_TEST_POSTGRES_URL")
        }
        "initdb" => (cfg!(has_initdb), "initdb and pg_ctl of PostgreSQL 15 or newer"),
        "pgbouncer" => (cfg!(has_pgbouncer), "pgbouncer"),
        "patroni" => (cfg!(has_patroni), "patroni with its patronictl, and etcd (etcd-server)"),
        "fail2ban" => (cfg!(has_fail2ban), "fail2ban-regex"),
        "faketime" => (cfg!(has_faketime), "libfaketime"),
        "nginx" => (cfg!(has_nginx), "nginx"),
        "haproxy" => (cfg!(has_haproxy), "haproxy"),
        "caddy" => (cfg!(has_caddy), "caddy (tests/proxies/install)"),
        "traefik" => (cfg!(has_traefik), "traefik (tests/proxies/install)"),
        "envoy" => (cfg!(has_envoy), "envoy (tests/proxies/install)"),
        "oathtool" => (cfg!(has_oathtool), "oathtool"),
        "zbarimg" => (cfg!(has_zbarimg), "zbarimg (zbar-tools)"),
        "systemd" => (cfg!(has_systemd), "systemd-analyze (systemd)"),
        "prometheus" => (cfg!(has_prometheus), "prometheus and promtool"),
        "htpasswd" => (cfg!(has_htpasswd), "htpasswd (apache2-utils)"),
        "argon2" => (cfg!(has_argon2), "argon2"),
        "jq" => (cfg!(has_jq), "jq"),
        "hashers" => (cfg!(has_hashers), "Python with Django and others (tests/import/install)"),
        "collector" => (cfg!(has_collector), "a collector (tests/traces/install)"),
        "taskset" => (cfg!(has_taskset), "taskset (util-linux)"),
        "root" => (cfg!(has_root), "to be root"),
        "mount" => (cfg!(has_mount), "the right to mount a file system"),
        _ => return None,
    })
}

fn code(text: &str) -> TokenStream {
    text.parse().expect("Rust")
}

fn error(words: &str) -> TokenStream {
    code(&format!("::core::compile_error!({words:?});"))
}
