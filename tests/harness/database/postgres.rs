//! A database of a test's own in PostgreSQL, on one server for all of them.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sessiond::domain::entropy::{Entropy as _, SystemEntropy};
use url::Url;

use crate::harness::cluster::{Cluster, rows, session};

pub(super) const TOKEN_KEY: &str = "SELECT encode(value, 'hex') FROM secrets WHERE name = 'token_key'";
pub(super) const HALF_DONE: &str = "SELECT count(*) FROM sessions AS s
     WHERE coalesce(revoked_why, '') <> 'renewed'
             AND 1 <> (SELECT count(*) FROM events WHERE session_id = s.id AND kind = 'login_ok')
         OR coalesce(revoked_why, '') <> 'renewed'
             AND (revoked_at IS NOT NULL)::int <> (SELECT count(*) FROM events WHERE session_id = s.id AND kind IN ('logout', 'revoked'))
         OR (revoked_at IS NOT NULL)::int <> (SELECT count(*) FROM revocations AS r
             WHERE r.seq = s.revoked_seq AND (s.token_hash = ANY (r.sessions) OR s.user_id = ANY (r.users)))";

/// A server where databases may be made: the one that the environment names, or one of this process's own.
fn server() -> &'static Url {
    static SERVER: OnceLock<(Url, Option<Cluster>)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| {
        let (url, cluster) = match std::env::var("SESSIOND_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty()) {
            Some(url) => (url, None),
            None => {
                let cluster = blocking(Cluster::start(""));
                (cluster.url("postgres"), Some(cluster))
            }
        };
        (Url::parse(&url).expect("a URL"), cluster)
    });
    url
}

/// A database, gone when dropped if it was made here.
pub struct Database {
    url: Url,
    ours: bool,
}

impl Database {
    /// An empty one.
    pub fn new() -> Self {
        static PREFIX: OnceLock<String> = OnceLock::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = PREFIX.get_or_init(|| {
            let mut random = [0; 4];
            SystemEntropy.fill(&mut random).expect("entropy");
            format!("t_{:08x}", u32::from_ne_bytes(random))
        });
        let name = format!("{prefix}_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Its files are copied: without fsync that is quicker than by way of the log.
        let create = format!("CREATE DATABASE {name} STRATEGY file_copy");
        blocking(rows(server().as_str(), &create)).expect("made");
        let mut url = server().clone();
        url.set_path(&name);
        Self { url, ours: true }
    }

    /// One that is there already.
    pub fn at(url: &str) -> Self {
        Self { url: Url::parse(url).expect("a URL"), ours: false }
    }

    /// How `sessiond` is told of it.
    pub fn url(&self) -> String {
        self.url.to_string()
    }

    /// The answer to a query, a row a row, every value as text.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        rows(self.url.as_str(), sql).await.expect("an answer")
    }

    /// Changes it behind everybody's back.
    pub async fn execute(&self, sql: &str) {
        self.rows(sql).await;
    }

    /// Keeps everything waiting that changes a session, until the result is dropped.
    pub async fn keep_writers_waiting(&self) -> tokio_postgres::Client {
        let session = session(self.url.as_str()).await.expect("a connection");
        session.batch_execute("BEGIN; LOCK TABLE sessions IN EXCLUSIVE MODE").await.expect("the lock");
        session
    }

    /// Whether nothing has ever been made in it.
    pub async fn is_untouched(&self) -> bool {
        self.tables().await.is_empty()
    }

    /// Its tables, views and the like, by name.
    pub async fn tables(&self) -> Vec<String> {
        let tables =
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
                      ORDER BY relname";
        self.rows(tables).await.into_iter().flatten().flatten().collect()
    }

    /// Everything it keeps, in pieces with a name.
    pub async fn contents(&self) -> Vec<(String, Vec<u8>)> {
        let mut contents = Vec::new();
        for table in self.tables().await {
            let rows = self.rows(&format!("SELECT t::text FROM {table} AS t")).await;
            contents.push((table, rows.concat().into_iter().flatten().collect::<Vec<_>>().join("\n").into_bytes()));
        }
        contents
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        let name = self.url.path().trim_start_matches('/');
        // A test that failed has said why already.
        let _ = blocking(rows(server().as_str(), &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")));
    }
}

/// Runs something to its end that must not depend on the runtime of the test.
fn blocking<T: Send>(work: impl Future<Output = T> + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().map(|own| own.block_on(work));
    let ended: io::Result<T> = std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"));
    ended.expect("a runtime")
}
