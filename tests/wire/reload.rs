//! SIGHUP: what can change changes at once and without a failed request, and a configuration that is wrong changes nothing.

use std::time::Duration;

use rustix::process::Signal;
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harness::fleet::ops;
use crate::harness::process::{Home, Process, field, login};
use crate::harness::{ALICE, PASSWORD, StoreKind, exchange, get};

const OLD: &str = "https://old.example";
const NEW: &str = "https://new.example";
/// A client that only the new settings believe to be a proxy's.
const CLIENT: &str = "192.0.2.7";
/// The line that says what a configuration has changed.
const TAKEN: &str = "the configuration was read again";

/// What the settings that can change are before and after.
const BEFORE: &str = "cors_origins = ['https://old.example']\ntrusted_proxies = 'none'\nlog_level = 'info'\n";
const AFTER: &str = "cors_origins = ['https://new.example']\ntrusted_proxies = '127.0.0.1'\nlog_level = 'debug'\n";

struct Server {
    home: Home,
    process: Process,
}

impl Server {
    async fn start(store: StoreKind, change: impl FnOnce(&mut tokio::process::Command)) -> Self {
        let home = Home::new(store);
        let mut command = home.server();
        std::fs::write(home.dir.path().join("sessiond.toml"), BEFORE).expect("written");
        command.env("SESSIOND_CONFIG", "sessiond.toml");
        change(&mut command);
        let process = Process::start(command).await;
        Self { home, process }
    }

    /// Writes the file, sends the signal, and returns the line that answers it.
    async fn reload(&self, toml: &str) -> String {
        std::fs::write(self.home.dir.path().join("sessiond.toml"), toml).expect("written");
        self.signal().await
    }

    async fn signal(&self) -> String {
        let lines = || {
            let log = self.process.log();
            let whole = log.rfind('\n').map_or("", |end| &log[..end]).to_owned();
            whole.lines().filter(|line| line.contains(TAKEN)).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = lines().len();
        self.process.signal(Signal::HUP);
        until("the signal is answered", async || lines().len() > before).await;
        lines().pop().expect("waited for")
    }

    async fn is_readable_by(&self, origin: &str) -> bool {
        let reply = self.process.send(get("/verify").header("Origin", origin)).await;
        reply.header("access-control-allow-origin").is_some()
    }

    /// The address that a session shows which is forwarded.
    async fn address_of_a_session(&self) -> String {
        let reply = self.process.send(login(ALICE, PASSWORD).header("X-Forwarded-For", CLIENT)).await;
        reply.json()["session"]["ip"].as_str().expect("an address").to_owned()
    }

    /// Whether a line that only `debug` shows is written about a request.
    async fn logs_answers(&self) -> bool {
        let id = self.process.send(get("/verify")).await.header("x-request-id").expect("an id").to_owned();
        // A later line shows that it would be there by now.
        self.signal().await;
        self.process.log().contains(&id)
    }

    async fn metric(&self, name: &str) -> i64 {
        let metrics = ops(&self.process, "/metrics").await.text();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&format!("sessiond_config_{name} ")));
        line.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{name}: {metrics}"))
    }

    async fn assert_old(&self) {
        assert!(self.is_readable_by(OLD).await && !self.is_readable_by(NEW).await);
        assert_eq!(self.address_of_a_session().await, "127.0.0.1");
        assert!(!self.logs_answers().await);
    }

    async fn assert_new(&self) {
        assert!(self.is_readable_by(NEW).await && !self.is_readable_by(OLD).await);
        assert_eq!(self.address_of_a_session().await, CLIENT);
        assert!(self.logs_answers().await);
    }
}

#[on_both_stores]
async fn what_can_change_does_and_one_line_says_what(store: StoreKind) {
    let server = Server::start(store, |_| ()).await;
    server.assert_old().await;
    let (hash, at) = (server.metric("hash").await, server.metric("last_reload_success_timestamp_seconds").await);
    assert!(at > 1_700_000_000, "the start counts: {at}");
    let line = server.reload(&format!("{AFTER}cookie_name = 'other'\nadmin_username = 'root-of-all'\n")).await;
    server.assert_new().await;
    assert_eq!(field(&line, "changed"), "trusted_proxies,cors_origins,log_level", "{line}");
    // The environment gives the name of the first user, so that the file's has no effect.
    assert_eq!(field(&line, "needs_restart"), "cookie_name", "{line}");
    assert_eq!(field(&line, "from_flags_or_environment"), "none", "{line}");
    assert!(!line.contains(NEW), "names, not values: {line}");
    assert_ne!(server.metric("hash").await, hash);
    // A level that hides the line comes into force after it, and one that shows it before.
    for level in ["error", "info"] {
        let line = server.reload(&BEFORE.replace("'info'", &format!("'{level}'"))).await;
        assert!(field(&line, "changed").contains("log_level"), "{line}");
    }
    server.assert_old().await;
    assert_eq!(server.metric("hash").await, hash);
}

#[on_both_stores]
async fn how_many_failures_an_address_may_have_changes_at_once(store: StoreKind) {
    let server = Server::start(store, |_| ()).await;
    let wrong = async |name: &str| server.process.send(login(name, "wrong-password-here")).await.status;
    assert_eq!(server.process.send(login(ALICE, PASSWORD)).await.status, 200);
    let line = server.reload(&format!("{BEFORE}failures_per_address = 2\n")).await;
    assert_eq!(field(&line, "changed"), "failures_per_address", "{line}");
    assert_eq!([wrong("ann").await, wrong("ben").await, wrong("cem").await], [401, 401, 429]);
    assert_eq!(server.process.send(login(ALICE, PASSWORD)).await.status, 429, "the address waits, whatever it tries");
    server.reload(&format!("{BEFORE}failures_per_address = 20000\n")).await;
    assert_eq!(wrong("dan").await, 429, "a number that cannot be changes nothing");
    server.reload(BEFORE).await;
    assert_eq!(wrong("eve").await, 429, "an empty bucket is empty, however much it may hold");
    let waited = async || server.process.send(login(ALICE, PASSWORD)).await.status == 200;
    until("one of a hundred is allowed again", waited).await;
}

#[on_both_stores]
async fn a_wrong_last_line_changes_nothing_at_all(store: StoreKind) {
    let server = Server::start(store, |_| ()).await;
    let (hash, at) = (server.metric("hash").await, server.metric("last_reload_success_timestamp_seconds").await);
    for (last, words) in [
        ("sessions_per_user = 0", "write a whole number from 1 up"),
        ("session_idle = '48h'", "session_absolute"),
        ("secret_key_file = '/nowhere'", "cannot be read"),
        ("no_such_setting = 1", "no_such_setting"),
        ("cut of", "line 4"),
    ] {
        let line = server.reload(&format!("{AFTER}{last}\n")).await;
        assert!(line.contains("changes nothing") && line.contains(words), "{last}: {line}");
        assert_eq!(server.metric("last_reload_successful").await, 0, "{last}");
    }
    server.assert_old().await;
    assert_eq!(server.metric("hash").await, hash);
    assert_eq!(server.metric("last_reload_success_timestamp_seconds").await, at);
    std::fs::remove_file(server.home.dir.path().join("sessiond.toml")).expect("removed");
    server.process.signal(Signal::HUP);
    until("it is refused", async || server.process.log().contains("sessiond.toml cannot be read")).await;
    server.assert_old().await;
    server.reload(BEFORE).await;
    assert_eq!(server.metric("last_reload_successful").await, 1);
}

#[test]
fn the_documentation_lists_the_settings_that_can_change() {
    let section =
        include_str!("../../docs/operations.md").split("\n## ").find(|text| text.starts_with("Changing settings"));
    let rows = section.expect("a section").lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let settings: Vec<_> = rows.filter(|name| !name.starts_with("sessiond_")).collect();
    assert_eq!(settings, sessiond::config::REREAD);
}

#[on_both_stores]
async fn what_flags_and_the_environment_give_stays_and_is_said_to_be_theirs(store: StoreKind) {
    let server = Server::start(store, |command| {
        command.args(["--cors-origins", OLD]).env("SESSIOND_TRUSTED_PROXIES", "none").env("RUST_LOG", "info");
    })
    .await;
    let line = server.reload(AFTER).await;
    server.assert_old().await;
    assert_eq!(field(&line, "changed"), "none", "RUST_LOG decides about the level: {line}");
    assert_eq!(field(&line, "from_flags_or_environment"), "trusted_proxies,cors_origins,RUST_LOG", "{line}");
}

#[on_both_stores]
async fn a_hundred_signals_under_load_fail_no_request(store: StoreKind) {
    let server = Server::start(store, |_| ()).await;
    let alice = server.process.log_in(ALICE).await;
    let (enough, mut clients) = (CancellationToken::new(), JoinSet::new());
    for _ in 0..8 {
        let (address, enough) = (server.process.listen.clone(), enough.clone());
        let checks =
            [get("/verify").bearer(&alice.token), get("/user").cookie(&alice.token)].map(|ask| ask.bytes(&address));
        clients.spawn(async move {
            let mut answered = 0;
            while !enough.is_cancelled() {
                for check in &checks {
                    assert_eq!(exchange(&address, check).await.status, 200);
                    answered += 1;
                }
            }
            answered
        });
    }
    for round in 0..100 {
        // The file has only been replaced once the signal was answered, so that no half of it is read.
        server.reload(if round % 2 == 0 { AFTER } else { BEFORE }).await;
    }
    enough.cancel();
    let answered: usize =
        tokio::time::timeout(Duration::from_secs(30), clients.join_all()).await.expect("ends").iter().sum();
    assert!(answered > 100, "{answered}");
    server.assert_old().await;
}
