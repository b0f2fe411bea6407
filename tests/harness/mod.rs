//! The real server on port 0 over a fresh database, and a client that speaks raw HTTP to it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use argon2::Argon2;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use sessiond::app::{self, Environment, Listeners, Running};
use sessiond::cache::TIMING;
use sessiond::config::{Config, DatabaseUrl, Settings};
use sessiond::domain::clock::{Clock, ManualClock, Timestamp};
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::id::UserId;
use sessiond::domain::password::PasswordHash;
use sessiond::domain::revocation::Why;
use sessiond::domain::text::{Email, Name, Username};
use sessiond::domain::user::NewUser;
use sessiond::http::request::state::Timeouts;
use sessiond::store::connect::{Role, connect};
use sessiond::store::{Added, Addition, Initial};
use sessiond::telemetry::notices;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

pub use self::database::{Database, StoreKind};
use sessiond_support::wait::until;

pub mod authenticator;
pub mod back_end;
pub mod database;
pub mod fleet;
pub mod fresh;
pub mod load;
pub mod names;
pub mod patroni;
pub mod pgbouncer;
pub mod process;
pub mod proxy;
pub mod reverse_proxy;
pub mod seed;

/// An administrator in every test server.
pub const ALICE: &str = "alice";
/// An ordinary user in every test server.
pub const BOB: &str = "bob";
/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";
/// Bob's address; Alice has none.
pub const BOB_EMAIL: &str = "bob@example.com";
/// When every test begins: 2026-01-02T03:04:05.678Z.
pub const BEGIN: Timestamp = Timestamp::from_millis(1_767_323_045_678);

/// Names and passwords that are refused, once Bob is disabled.
pub fn credentials_of_no_user() -> [(&'static str, String); 10] {
    let long = "x".repeat(1025);
    [
        (ALICE, "wrong horse battery staple"),
        ("nobody", PASSWORD),
        ("nobody@example.com", PASSWORD),
        (BOB, PASSWORD),
        (BOB_EMAIL, PASSWORD),
        (ALICE, "1234567"),
        (ALICE, ""),
        (ALICE, &long),
        ("nobody", &long),
        ("", PASSWORD),
    ]
    .map(|(name, password)| (name, password.to_owned()))
}

/// A server of this test's own.
pub struct Server {
    /// A clock that the test moves.
    pub clock: Arc<ManualClock>,
    /// The database that it serves from.
    pub database: Database,
    running: Running,
}

impl Server {
    /// Starts with defaults.
    pub async fn start(store: StoreKind) -> Self {
        Self::with(store, "").await
    }

    /// Starts with settings, as a configuration file would give them.
    pub async fn with(store: StoreKind, toml: &str) -> Self {
        let clock = Arc::new(ManualClock::new(BEGIN));
        Self::over(with_users(store).await, clock, toml, Timeouts::default()).await
    }

    /// Starts with short timeouts for slow clients.
    pub async fn impatient(store: StoreKind, timeouts: Timeouts) -> Self {
        Self::over(with_users(store).await, Arc::new(ManualClock::new(BEGIN)), "", timeouts).await
    }

    /// Another server over the same database, with the same clock.
    pub async fn replica(&self) -> Self {
        let database = Database::at(&self.database.url());
        Self::over(database, self.clock.clone(), "", Timeouts::default()).await
    }

    /// Stops, and starts again over the same database at the same time.
    pub async fn restart(self, toml: &str) -> Self {
        let Self { clock, database, running } = self;
        running.stop().await;
        Self::over(database, clock, toml, Timeouts::default()).await
    }

    async fn over(database: Database, clock: Arc<ManualClock>, toml: &str, timeouts: Timeouts) -> Self {
        let mut settings: Settings = toml::from_str(toml).expect("settings");
        let any = "127.0.0.1:0".parse().ok();
        settings.listen = any;
        settings.ops_listen = any;
        notices::install();
        if let Some(other) = &settings.database_url {
            add_users(other, clock.clone()).await;
        }
        settings.database_url.get_or_insert_with(|| DatabaseUrl::new(database.url()));
        let config = Config::new(&settings).expect("a configuration");
        let environment = Environment { clock: clock.clone(), entropy: Arc::new(SystemEntropy) };
        let mut core = app::build(&config, true, environment).await.expect("built");
        core.timeouts = timeouts;
        let listeners = Listeners::bind(&config.http).expect("bound");
        let running = app::serve(&config, core, listeners);
        let server = Self { clock, database, running };
        let distrust = "cache: not trusted";
        until("memory is believed", async || !server.ops("/readyz").await.text().contains(distrust)).await;
        server
    }

    /// Where clients connect.
    pub fn address(&self) -> String {
        self.running.listen.to_string()
    }

    /// Where operations are.
    pub fn ops_address(&self) -> String {
        self.running.ops_listen.to_string()
    }

    /// Waits until sessions of before the start are in memory. Of those that begin later each is read when it is checked.
    pub async fn until_warm(&self) {
        let ended = |line: &str| line.starts_with("sessiond_cache_warm_ups_total{") && !line.ends_with(" 0");
        until("the cache is warm", async || self.ops("/metrics").await.text().lines().any(ended)).await;
    }

    /// Drains and stops.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    /// Moves the clock.
    pub fn advance(&self, span: Duration) {
        self.clock.advance(span);
    }

    /// The time there.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Sends a request over a connection of its own, and checks the answer against `openapi.yaml`.
    pub async fn send(&self, ask: TestRequest) -> Reply {
        let (method, target) = (ask.method.clone(), ask.target.clone());
        let reply = exchange(&self.address(), &ask.bytes(&self.address())).await;
        crate::dialects::openapi::check(&method, &target, &reply);
        reply
    }

    /// The same on the operations listener.
    pub async fn ops(&self, target: &str) -> Reply {
        let reply = exchange(&self.ops_address(), &get(target).bytes(&self.ops_address())).await;
        crate::dialects::openapi::check_ops("GET", target, &reply);
        reply
    }

    /// Logs in with a token in the body; panics unless that works.
    pub async fn log_in(&self, username: &str) -> LoggedIn {
        self.log_in_with(username, PASSWORD).await
    }

    /// The same with another password.
    pub async fn log_in_with(&self, username: &str, password: &str) -> LoggedIn {
        let body = serde_json::json!({"username": username, "password": password, "transport": "token"});
        let reply = self.send(post("/api/v1/auth/login").json(&body)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = reply.json();
        let text = |pointer: &str| body.pointer(pointer).and_then(|v| v.as_str()).expect(pointer).to_owned();
        LoggedIn { token: text("/token"), session: text("/session/id"), user: text("/user/id") }
    }

    /// Deletes every counter of failed tries, so that the next wrong one is the first.
    pub async fn forget_failures(&self) {
        self.database.execute("DELETE FROM throttles").await;
    }

    /// Waits until no request is under way, including the handlers of clients that have disconnected.
    pub async fn database_is_at_rest(&self) {
        let connections = async || {
            let metrics = self.ops("/metrics").await.text();
            let open = metrics.lines().find_map(|line| line.strip_prefix("sessiond_connections "));
            open.and_then(|open| open.parse::<u32>().ok()).expect("a gauge")
        };
        // The request for this number itself.
        until("only one connection is open", async || connections().await == 1).await;
    }

    /// The status of a check of `token`.
    pub async fn check(&self, token: &str) -> u16 {
        self.send(get("/verify").bearer(token)).await.status
    }
}

/// A database with Alice and Bob in it. On PostgreSQL it is a copy, since making its tables takes longer than many a test.
async fn with_users(store: StoreKind) -> Database {
    static FIRST: OnceCell<Database> = OnceCell::const_new();
    let make = async || {
        let database = Database::new(store);
        add_users(&DatabaseUrl::new(database.url()), Arc::new(ManualClock::new(BEGIN))).await;
        database
    };
    match store {
        StoreKind::Postgres if database::ends_with_this_process() => FIRST.get_or_init(make).await.copy(),
        StoreKind::Postgres | StoreKind::Sqlite => make().await,
    }
}

/// Adds Alice and Bob to a store that has no users yet.
async fn add_users(url: &DatabaseUrl, clock: Arc<ManualClock>) {
    notices::install();
    let store = connect(url, Role::Command, TIMING, clock, &SystemEntropy).await.expect("a store");
    if !store.has_users().await.expect("a store") {
        for (username, email, admin) in [(ALICE, None, true), (BOB, Some(BOB_EMAIL), false)] {
            let user = NewUser {
                username: Username::new(username).expect("fit"),
                email: email.map(|email| Email::new(email).expect("fit")),
                name: Name::new(username).expect("fit"),
                admin,
            };
            let id = UserId::random(&SystemEntropy).expect("entropy");
            let password = Initial { hash: password_hash(), one_time: None };
            let addition = Addition { id, user, password, lifts: Vec::new(), first: false };
            let added = store.add_user(addition, fresh::because(Why::Operator)).await.expect("a store");
            assert!(matches!(added, Added::Yes(_)), "{added:?}");
        }
    }
    store.close().await;
}

/// The hash of everybody's password as the service makes it, computed once for all tests, since that takes a while.
fn password_hash() -> PasswordHash {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let (salt, mut output) = ([7; 16], [0; 32]);
        Argon2::default().hash_password_into(PASSWORD.as_bytes(), &salt, &mut output).expect("a hash");
        let [salt, output] = [&salt[..], &output].map(|bytes| STANDARD_NO_PAD.encode(bytes));
        format!("$argon2id$v=19$m=19456,t=2,p=1${salt}${output}")
    });
    PasswordHash::new(HASH.clone())
}

/// A login made for a test.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// The session's token.
    pub token: String,
    /// The session's id.
    pub session: String,
    /// The user's id.
    pub user: String,
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    host: bool,
}

/// A request with any method.
pub fn ask(method: &str, target: &str) -> TestRequest {
    TestRequest { method: method.into(), target: target.into(), headers: Vec::new(), body: None, host: true }
}

/// A GET.
pub fn get(target: &str) -> TestRequest {
    ask("GET", target)
}

/// A POST without a body.
pub fn post(target: &str) -> TestRequest {
    ask("POST", target)
}

/// A DELETE.
pub fn delete(target: &str) -> TestRequest {
    ask("DELETE", target)
}

impl TestRequest {
    /// Adds a header, even if there is one of that name. A `Host` given here replaces the usual one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.host &= !name.eq_ignore_ascii_case("host");
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Omits `Host`.
    pub fn without_host(mut self) -> Self {
        self.host = false;
        self
    }

    /// Presents a token as a bearer.
    pub fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// Presents a token in the session cookie.
    pub fn cookie(self, token: &str) -> Self {
        self.header("Cookie", &format!("_me_sess={token}"))
    }

    /// Presents a user id and a token as Rocket.Chat's clients do.
    pub fn pair(self, user: &str, token: &str) -> Self {
        self.header("X-User-Id", user).header("X-Auth-Token", token)
    }

    /// With a JSON body.
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.body("application/json", body.to_string().as_bytes())
    }

    /// With a form body, already encoded.
    pub fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body.as_bytes())
    }

    /// With any body.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> Self {
        self.body = Some(body.to_vec());
        self.header("Content-Type", content_type)
    }

    /// The request as it goes over the wire; the connection closes after it.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        if self.host {
            line("Host", host);
        }
        line("Connection", "close");
        for (name, value) in &self.headers {
            line(name, value);
        }
        if let Some(body) = &self.body {
            line("Content-Length", &body.len().to_string());
        }
        head.push_str("\r\n");
        [head.as_bytes(), self.body.as_deref().unwrap_or_default()].concat()
    }
}

/// Sends bytes, and reads one answer until the connection closes.
pub async fn exchange(address: &str, bytes: &[u8]) -> Reply {
    let read = async {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        // The server may refuse and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    let answer = tokio::time::timeout(Duration::from_secs(60), read).await.expect("an answer in time");
    Reply::parse(&answer)
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers as sent.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Reads one answer, framed by its length or by the end.
    pub fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap_or_else(|| {
            panic!("not an answer: {:?}", String::from_utf8_lossy(bytes));
        });
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|s| s.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.into(), v.into())).collect();
        Self { status: status.expect("a status"), headers, body: bytes[end + 4..].to_vec() }
    }

    /// The only header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} came {} times", all.len());
        all.first().copied()
    }

    /// Every header of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = |(n, _): &&(String, String)| n.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, v)| v.as_str()).collect()
    }

    /// What it writes of the session cookie, and nothing of the one by which a browser is known.
    pub fn session_cookies(&self) -> Vec<&str> {
        self.all("set-cookie").into_iter().filter(|line| !line.starts_with("_me_sess_known=")).collect()
    }

    /// The only such line.
    pub fn session_cookie(&self) -> Option<&str> {
        let all = self.session_cookies();
        assert!(all.len() <= 1, "it came {} times", all.len());
        all.first().copied()
    }

    /// What a browser keeps after a login, to be known.
    pub fn known_browser(&self) -> Option<String> {
        let values = self.all("set-cookie").into_iter().filter_map(|line| line.strip_prefix("_me_sess_known="));
        values.filter_map(|rest| rest.split(';').next()).map(str::to_owned).next()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.text()))
    }

    /// The token that the cookie was set to, if it was set and not cleared.
    pub fn cookie(&self) -> Option<String> {
        let values = self.all("set-cookie").into_iter().filter_map(|line| line.strip_prefix("_me_sess="));
        values.filter_map(|rest| rest.split(';').next()).find(|value| !value.is_empty()).map(str::to_owned)
    }
}

/// The cleared cookie, as the contract writes it.
pub const CLEARED: &str =
    "_me_sess=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax; Secure";

/// A `Set-Cookie` line as its value and its attributes, whose order means nothing.
pub fn attributes(line: &str) -> (&str, std::collections::BTreeSet<&str>) {
    let mut parts = line.split("; ");
    (parts.next().unwrap_or_default(), parts.collect())
}

impl Reply {
    /// Whether it writes the cleared cookie exactly, and no other.
    pub fn clears_exactly(&self) -> bool {
        matches!(self.all("set-cookie").as_slice(), [line] if attributes(line) == attributes(CLEARED))
    }
}

impl Server {
    /// Lifts what keeps a user out, as the command line does beside a running server.
    pub async fn unlock(&self, username: &str) {
        let core = self.beside().await;
        let operator = core.service.operator();
        operator.unlock(&operator.user(username).await.expect("a user")).await.expect("unlocked");
        core.close().await;
    }

    /// Sets a password, in the same way.
    pub async fn set_password(&self, username: &str, password: &str) {
        let core = self.beside().await;
        let operator = core.service.operator();
        let user = operator.user(username).await.expect("a user");
        operator.set_password(user.id, password.to_owned()).await.expect("set");
        core.close().await;
    }

    /// Disables a user, in the same way.
    pub async fn disable(&self, username: &str) {
        let core = self.beside().await;
        let operator = core.service.operator();
        let user = operator.user(username).await.expect("a user");
        let ended = operator.set_disabled(user.id, true).await.expect("disabled");
        assert_eq!(operator.confirm(ended.seq).await.expect("a store"), sessiond::cache::coherence::Confirmed::Applied);
        core.close().await;
    }

    /// What a command is run on.
    async fn beside(&self) -> app::Core {
        let database = format!("database_url = '{}'\npassword_workers = 1", self.database.url());
        let config = Config::new(&toml::from_str(&database).expect("settings")).expect("a configuration");
        let environment = Environment { clock: self.clock.clone(), entropy: Arc::new(SystemEntropy) };
        notices::install();
        app::build(&config, false, environment).await.expect("built")
    }
}
