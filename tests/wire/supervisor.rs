//! A service manager such as systemd is told how far the process is, and the unit in `examples/systemd` is one that it takes.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use sessiond_needs::needs;
use tokio::net::UnixDatagram;
use tokio::time::timeout;

use crate::harness::StoreKind;
use crate::harness::process::{Home, Process, finish};

const UNIT: &str = include_str!("../../examples/systemd/sessiond.service");

/// A home, the socket of a service manager in it, and a server that tells it.
fn supervised() -> (Home, UnixDatagram, tokio::process::Command) {
    let home = Home::new(StoreKind::Sqlite);
    let path = home.dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let mut command = home.server();
    command.env("NOTIFY_SOCKET", &path);
    (home, socket, command)
}

/// The next message that is not only about the watchdog.
async fn next(socket: &UnixDatagram) -> String {
    loop {
        let message = any(socket).await;
        if message != "WATCHDOG=1\n" {
            return message;
        }
    }
}

async fn any(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = timeout(Duration::from_secs(60), socket.recv(&mut buffer)).await.expect("a message").expect("read");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn it_says_when_it_serves_that_it_runs_that_it_reads_its_settings_again_and_that_it_stops() {
    let (_home, socket, mut command) = supervised();
    command.env("WATCHDOG_USEC", "300000");
    let mut server = Process::begin(command);
    assert_eq!(next(&socket).await, "READY=1\nSTATUS=serving\n");
    server.until_it_serves().await;
    assert_eq!(server.check("nothing").await, 401, "it serves");
    for _ in 0..3 {
        assert_eq!(any(&socket).await, "WATCHDOG=1\n");
    }
    server.signal(Signal::HUP);
    let told = next(&socket).await;
    assert!(told.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{told}");
    assert_eq!(next(&socket).await, "READY=1\nSTATUS=serving\n");
    server.signal(Signal::TERM);
    assert_eq!(next(&socket).await, "STOPPING=1\nSTATUS=stopping\n");
    assert!(server.ended().await.success());
}

#[tokio::test]
async fn a_start_that_waits_for_its_database_says_so_and_asks_for_time() {
    let (_home, socket, mut command) = supervised();
    // Nothing listens there.
    command.env("SESSIOND_DATABASE_URL", "postgres://sessiond@127.0.0.1:1/sessiond");
    let server = Process::begin(command);
    let told = next(&socket).await;
    assert!(told.starts_with("EXTEND_TIMEOUT_USEC=20000000\nSTATUS=store: waiting for the database ("), "{told}");
    server.kill().await;
}

#[tokio::test]
async fn a_service_manager_that_does_not_read_stops_nothing() {
    let (_home, socket, mut command) = supervised();
    command.env("WATCHDOG_USEC", "3000");
    let mut server = Process::start(command).await;
    // Far more messages than a socket holds.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.check("nothing").await, 401);
    server.signal(Signal::TERM);
    assert!(server.ended().await.success());
    drop(socket);
}

#[needs(systemd)]
#[tokio::test]
async fn systemd_takes_the_unit_and_finds_little_that_it_may_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let unit = dir.path().join("sessiond.service");
    fs::write(&unit, UNIT.replace("/usr/bin/sessiond", env!("CARGO_BIN_EXE_sessiond"))).expect("written");
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).arg(&unit).output().expect("it runs");
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.success(), text)
    };
    let (fine, text) = analyze(&["verify", "--man=no"]);
    assert!(fine && !text.contains("sessiond.service"), "{text}");
    // Of 100: 1.5 of 10, which systemd calls OK.
    let (fine, text) = analyze(&["security", "--offline=true", "--threshold=15"]);
    assert!(fine, "{text}");
    let loose = UNIT.replace("ProtectSystem=strict\n", "").replace("SystemCallFilter=@system-service\n", "");
    fs::write(&unit, loose).expect("written");
    let (fine, text) = analyze(&["security", "--offline=true", "--threshold=15"]);
    assert!(!fine, "less of it is not enough: {text}");
}

#[tokio::test]
async fn the_unit_gives_stopping_the_time_that_it_takes_and_starts_what_there_is() {
    let value = |key: &str| {
        let line = UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key}"))
    };
    let seconds = |key| value(key).parse::<u64>().expect(key);
    assert!(seconds("TimeoutStopSec") > 1 + sessiond::app::STOPPING.as_secs());
    assert_eq!(value("Type"), "notify");
    let home = Home::new(StoreKind::Sqlite);
    fs::write(home.dir.path().join("sessiond.toml"), "").expect("written");
    let arguments: Vec<_> = value("ExecStart").split(' ').skip(1).collect();
    assert_eq!(arguments, ["--config", "/etc/sessiond/sessiond.toml"]);
    let config = home.command(&["--config", "sessiond.toml", "check-config"]);
    finish(config, "").await.done().unwrap();
}
