//! Looks at what this machine gives to tests, again whenever that may have changed.
//!
//! It stands in a crate that only tests depend on: what the build script of `sessiond` itself sets reaches `cargo run`
//! as environment variables, and makes a release build depend on which packages are installed.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use sessiond_machine as machine;

/// Changes when a Debian package is installed, which may be one of those that are looked for.
const PACKAGES: &str = "/var/lib/dpkg/status";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed={}", machine::POSTGRES_URL);
    println!("cargo::rustc-check-cfg=cfg(has_nginx, has_haproxy, has_caddy, has_traefik, has_envoy)");
    println!("cargo::rustc-check-cfg=cfg(has_mount, has_root, has_initdb, has_postgres, has_fail2ban, has_faketime)");
    println!("cargo::rustc-check-cfg=cfg(has_oathtool, has_zbarimg, has_systemd, has_prometheus)");
    println!("cargo::rustc-check-cfg=cfg(has_pgbouncer, has_patroni, has_collector, has_taskset)");
    println!("cargo::rustc-check-cfg=cfg(has_htpasswd, has_argon2, has_hashers, has_jq)");

    let files = [
        ("initdb", machine::postgres_programs().map(|folder| folder.join("initdb"))),
        ("pgbouncer", machine::program("pgbouncer")),
        ("patroni", machine::program("patronictl").and(machine::program("etcd")).and(machine::program("patroni"))),
        ("faketime", machine::faketime()),
        ("oathtool", machine::program("oathtool")),
        ("zbarimg", machine::program("zbarimg")),
        ("systemd", machine::program("systemd-analyze")),
        ("prometheus", machine::program("prometheus").and(machine::program("promtool"))),
        ("fail2ban", machine::program("fail2ban-regex")),
        ("nginx", machine::proxy("nginx")),
        ("haproxy", machine::proxy("haproxy")),
        ("caddy", machine::proxy("caddy")),
        ("traefik", machine::proxy("traefik")),
        ("envoy", machine::proxy("envoy")),
        ("htpasswd", machine::program("htpasswd")),
        ("argon2", machine::program("argon2")),
        ("jq", machine::program("jq")),
        ("hashers", machine::hashers()),
        ("collector", machine::collector()),
        ("taskset", machine::program("taskset")),
    ];
    for (name, found) in &files {
        if let Some(file) = found {
            println!("cargo::rerun-if-changed={}", file.display());
            println!("cargo::rustc-cfg=has_{name}");
        }
    }
    if files.iter().any(|(_, found)| found.is_none()) && Path::new(PACKAGES).exists() {
        println!("cargo::rerun-if-changed={PACKAGES}");
    }
    watch_installed();
    if machine::postgres_programs().is_some() || machine::postgres_url().is_some() {
        println!("cargo::rustc-cfg=has_postgres");
    }
    if may_mount() {
        println!("cargo::rustc-cfg=has_mount");
    }
    // Only root can give a file to another user, and be another user.
    if std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
        println!("cargo::rustc-cfg=has_root");
    }
}

/// Has this script run again when `tests/proxies/install`, `tests/import/install` or `tests/traces/install` has put something there.
fn watch_installed() {
    let Ok(running) = std::env::current_exe() else { return };
    // It runs in `build/sessiond-needs-…` of a profile's folder, of which there is one in the target directory.
    let Some(target) = running.ancestors().nth(4) else { return };
    for folder in [machine::INSTALLED, machine::HASHERS, machine::COLLECTOR].map(|folder| target.join(folder)) {
        // What does not exist counts as changed each time.
        if std::fs::create_dir_all(&folder).is_ok() {
            println!("cargo::rerun-if-changed={}", folder.display());
        }
    }
}

/// Whether this process may mount a file system in a namespace of its own.
fn may_mount() -> bool {
    let unshare = Command::new("unshare").args(["--mount", "true"]).output();
    unshare.is_ok_and(|output| output.status.success())
}
