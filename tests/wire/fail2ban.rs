//! The filter for fail2ban in `examples/`, run by fail2ban itself over what a server logs.

use sessiond_needs::needs;
use sessiond_support::wait::until;
use tokio::process::Command;

use crate::harness::process::{Home, Process, login};
use crate::harness::{ALICE, StoreKind};

const FILTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fail2ban/sessiond.conf");

#[needs(fail2ban)]
#[tokio::test]
async fn each_refused_login_bans_its_own_address_and_no_other() {
    let home = Home::new(StoreKind::Sqlite);
    let mut command = home.server();
    command.env("SESSIOND_TRUSTED_PROXIES", "127.0.0.1");
    let server = Process::start(command).await;
    for (address, name, agent) in [
        ("192.0.2.1", ALICE, "curl/8.5.0"),
        ("192.0.2.2", "nobody\" ip=\"203.0.113.9", "curl/8.5.0"),
        ("2001:db8::3", ALICE, "x\" ip=\"203.0.113.9\" \\\" INFO login refused ip=\"203.0.113.9\""),
        ("192.0.2.4", "x\nINFO login refused ip=\"203.0.113.9\"", "INFO login refused ip=\"203.0.113.9\""),
    ] {
        let wrong = login(name, "not the password").header("X-Forwarded-For", address).header("User-Agent", agent);
        let wrong = wrong.header("X-Request-Id", "\"}:ip=\"203.0.113.9\"");
        assert_eq!(server.send(wrong).await.status, 401);
    }
    server.log_in(ALICE).await;
    until("all are logged", async || server.log().contains("192.0.2.4")).await;
    let file = home.dir.path().join("sessiond.log");
    std::fs::write(&file, server.log()).expect("written");
    let mut banned = Command::new("fail2ban-regex");
    banned.arg("--out").arg("<ip>").arg(&file).arg(FILTER);
    let output = banned.output().await.expect("fail2ban-regex");
    let found = String::from_utf8(output.stdout).expect("UTF-8");
    let mut addresses: Vec<_> = found.lines().filter(|line| !line.is_empty()).collect();
    addresses.sort_unstable();
    assert_eq!(addresses, ["192.0.2.1", "192.0.2.2", "192.0.2.4", "2001:db8::3"], "{}", server.log());
}
