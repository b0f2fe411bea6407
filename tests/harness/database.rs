//! A database of a test's own, of either kind, and what a test can do with it whatever its kind.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sessiond::domain::entropy::{Entropy as _, SystemEntropy};
use sessiond_support::database::{self, Connection, Texts};
use sessiond_support::postgres::{Options, Postgres};
use tempfile::TempDir;
use url::Url;

/// Every kind of store, each of which keeps the same contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// A file in a directory of its own.
    Sqlite,
    /// A database on the server that all tests share.
    Postgres,
}

impl StoreKind {
    /// The query that counts the sessions without their login in the audit, and the revocations without tombstone, number
    /// or event.
    pub fn half_done(self) -> String {
        let (is_revoked, names_the_session) = match self {
            Self::Sqlite => ("(revoked_at IS NOT NULL)", "instr(what, lower(hex(s.token_hash))) > 0"),
            Self::Postgres => {
                ("(revoked_at IS NOT NULL)::int", "(s.token_hash = ANY (sessions) OR s.user_id = ANY (users))")
            }
        };
        // The tombstone of an old token, whose session goes on under a new one, has a number and nothing else.
        format!(
            "SELECT count(*) FROM sessions AS s
             WHERE coalesce(revoked_why, '') <> 'renewed'
                     AND 1 <> (SELECT count(*) FROM events WHERE session_id = s.id AND kind = 'login_ok')
                 OR coalesce(revoked_why, '') <> 'renewed'
                     AND {is_revoked} <> (SELECT count(*) FROM events
                         WHERE session_id = s.id AND kind IN ('logout', 'revoked'))
                 OR {is_revoked} <> (SELECT count(*) FROM revocations
                     WHERE seq = s.revoked_seq AND {names_the_session})"
        )
    }
}

/// A database. If it was made here, it is deleted when dropped.
pub enum Database {
    /// A file, in this directory.
    Sqlite(TempDir),
    /// On a server.
    Postgres {
        /// How to connect to it.
        url: Url,
        /// Whether it was made here.
        ours: bool,
    },
}

impl Database {
    /// Makes an empty database. A file is not created yet.
    pub fn new(store: StoreKind) -> Self {
        match store {
            StoreKind::Sqlite => Self::Sqlite(tempfile::tempdir().expect("a directory")),
            StoreKind::Postgres => Self::on_server("template1"),
        }
    }

    /// Makes a copy of one on a server, to which nobody may be connected.
    pub fn copy(&self) -> Self {
        let Self::Postgres { url, .. } = self else { panic!("a file") };
        Self::on_server(url.path().trim_start_matches('/'))
    }

    fn on_server(template: &str) -> Self {
        let name = unused_name();
        // Its files are copied: without fsync that is quicker than by way of the log.
        execute_on_server(&format!("CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"));
        let mut url = server().clone();
        url.set_path(&name);
        Self::Postgres { url, ours: true }
    }

    /// One on a server that is there already.
    pub fn at(url: &str) -> Self {
        Self::Postgres { url: Url::parse(url).expect("a URL"), ours: false }
    }

    /// What kind it is.
    pub fn kind(&self) -> StoreKind {
        match self {
            Self::Sqlite(_) => StoreKind::Sqlite,
            Self::Postgres { .. } => StoreKind::Postgres,
        }
    }

    /// Its URL, as `sessiond` is configured with it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(_) => format!("sqlite://{}", self.path().display()),
            Self::Postgres { url, .. } => url.to_string(),
        }
    }

    /// The file. Panics where there is none.
    pub fn path(&self) -> PathBuf {
        self.dir().join("test.db")
    }

    /// The directory that the file lies in, with nothing else in it. Panics where there is none.
    pub fn dir(&self) -> &Path {
        match self {
            Self::Sqlite(dir) => dir.path(),
            Self::Postgres { url, .. } => panic!("{url} is no file"),
        }
    }

    /// The answer to a query, row by row, with every value as text. It changes no file, not even when the connection is
    /// closed.
    pub async fn rows(&self, sql: &str) -> Vec<Texts> {
        let url = match self {
            Self::Sqlite(_) => self.url() + "?mode=ro",
            Self::Postgres { .. } => self.url(),
        };
        database::rows(&url, sql).await.unwrap_or_else(|error| panic!("{error:#}: {sql}"))
    }

    /// The number that is the answer to a query.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.rows(sql).await;
        let [row] = &rows[..] else { panic!("{rows:?}") };
        row[0].as_deref().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Opens another connection to it.
    pub async fn connect(&self) -> Connection {
        Connection::open(&self.url()).await.expect("a connection")
    }

    /// Changes it without any server.
    pub async fn execute(&self, sql: &str) {
        database::execute(&self.url(), sql).await.unwrap_or_else(|error| panic!("{error:#}: {sql}"));
    }

    /// Blocks every change of a session until the connection is closed.
    pub async fn keep_writers_waiting(&self) -> Connection {
        let mut connection = self.connect().await;
        let lock = match self {
            Self::Sqlite(_) => "BEGIN IMMEDIATE",
            Self::Postgres { .. } => "BEGIN; LOCK TABLE sessions IN EXCLUSIVE MODE",
        };
        connection.execute(lock).await.expect("the lock");
        connection
    }

    /// The key that tokens are made with, in hex.
    pub async fn token_key(&self) -> String {
        let value = match self {
            Self::Sqlite(_) => "hex(value)",
            Self::Postgres { .. } => "encode(value, 'hex')",
        };
        let rows = self.rows(&format!("SELECT {value} FROM secrets WHERE name = 'token_key'")).await;
        rows[0][0].clone().expect("a key")
    }

    /// Counts changes that were done only in part.
    pub async fn half_done(&self) -> i64 {
        self.number(&self.kind().half_done()).await
    }

    /// Whether nothing has ever been made in it.
    pub async fn is_untouched(&self) -> bool {
        match self {
            Self::Sqlite(_) => !self.path().exists(),
            Self::Postgres { .. } => self.tables().await.is_empty(),
        }
    }

    /// Its tables and views by name, where it is on a server.
    pub async fn tables(&self) -> Vec<String> {
        let tables =
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
                      ORDER BY relname";
        self.rows(tables).await.into_iter().flatten().flatten().collect()
    }

    /// Everything it holds, in named parts.
    pub async fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let mut contents = Vec::new();
        match self {
            Self::Sqlite(dir) => {
                for file in std::fs::read_dir(dir).expect("a directory") {
                    let path = file.expect("a file").path();
                    contents.push((path.display().to_string(), std::fs::read(&path).expect("bytes")));
                }
            }
            Self::Postgres { .. } => {
                for table in self.tables().await {
                    let rows = self.rows(&format!("SELECT t::text FROM {table} AS t")).await;
                    let rows: Vec<_> = rows.into_iter().flatten().flatten().collect();
                    contents.push((table, rows.join("\n").into_bytes()));
                }
            }
        }
        contents
    }

    /// Where a server that works in `dir` keeps the first user's password.
    pub fn first_password(&self, dir: &Path) -> PathBuf {
        match self {
            Self::Sqlite(_) => self.dir().join("test.db.first-password"),
            Self::Postgres { .. } => dir.join("sessiond.first-password"),
        }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Self::Postgres { url, ours: true } = self {
            let name = url.path().trim_start_matches('/');
            execute_on_server(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

/// Whether the server ends with this process, and with it every database that was not deleted.
pub fn ends_with_this_process() -> bool {
    sessiond_machine::postgres_url().is_none()
}

/// A server where databases may be made: the one that the environment names, or one of this process's own.
fn server() -> &'static Url {
    static SERVER: OnceLock<(Url, Option<Postgres>)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| {
        let own = || block_on(Postgres::start(Options { folder: memory(), ..Options::default() })).expect("a server");
        let server = ends_with_this_process().then(own);
        let url = server.as_ref().map(|server| server.url("postgres")).or_else(sessiond_machine::postgres_url);
        (Url::parse(&url.expect("one of them")).expect("a URL"), server)
    });
    url
}

/// A folder in memory with enough room for the databases of tests. Each has some 300 files, which a disk's file system takes
/// longer to make and to remove than most tests take for the rest.
pub fn memory() -> Option<PathBuf> {
    const ENOUGH: u64 = 1 << 30;
    let folder = PathBuf::from("/dev/shm");
    let space = rustix::fs::statvfs(&folder).ok()?;
    (space.f_bavail * space.f_frsize >= ENOUGH).then_some(folder)
}

/// Runs a statement there. Errors are ignored, since a test that failed has reported its own.
fn execute_on_server(sql: &str) {
    let done = block_on(database::execute(server().as_str(), sql));
    assert!(done.is_ok() || std::thread::panicking(), "{done:?}");
}

/// A name that no other database has, of this or of another run.
fn unused_name() -> String {
    static PREFIX: OnceLock<u32> = OnceLock::new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prefix = PREFIX.get_or_init(|| {
        let mut random = [0; 4];
        SystemEntropy.fill(&mut random).expect("entropy");
        u32::from_ne_bytes(random)
    });
    format!("t_{prefix:08x}_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs work to its end on a runtime of its own, since that of the test may be about to end.
fn block_on<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work)
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"))
}
