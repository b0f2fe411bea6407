//! TLS to the database: which servers are trusted, which are not, and the error then.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use sessiond_needs::needs;
use sessiond_support::postgres::give_away;
use sessiond_support::postgres::{Options, Postgres};
use tempfile::TempDir;

use crate::harness::ALICE;
use crate::harness::fleet::{home_at, log_out, serve_through, until_in_memory, until_trusted};
use crate::harness::names::{ADDRESSES, NAME, by_name, open_doors, serve_by_name};
use crate::harness::process::finish;
use sessiond_support::wait::until;

const SECRET: &str = "s3cret-of-the-database";
/// Connections through the network need TLS and a password, except those of the tests themselves.
const ACCESS: &str = "
local   all all      trust
host    all sessiond 127.0.0.1/32 trust
hostssl all all      127.0.0.1/32 scram-sha-256
";

/// The same without a password, which a server that was not optimised takes long to prove that it knows.
const ACCESS_WITHOUT_PASSWORD: &str = "
local   all all                  trust
host    all,replication sessiond 127.0.0.1/32 trust
hostssl all all                  127.0.0.1/32 trust
";

/// A certification authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A certificate for a host, and its key.
    fn certify(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([host.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.issuer).expect("signed").pem(), key.serialize_pem())
    }
}

/// Files that a cluster can read.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        give_away(dir.path()).unwrap();
        Self(dir)
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("kept secret");
        give_away(&path).unwrap();
        path
    }
}

#[needs(initdb)]
#[tokio::test]
async fn a_guarded_password_opens_a_database_without_tls_and_bytes_pass_both_ways() {
    let files = Files::new();
    let access = "local all all trust\nhost all sessiond 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256";
    let access = files.write("access", access).display().to_string();
    let cluster = Postgres::start(Options::with(&format!("hba_file = '{access}'"))).await.unwrap();
    cluster.rows("postgres", &format!("CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'")).await.unwrap();
    cluster.rows("postgres", "CREATE DATABASE guarded OWNER guarded").await.unwrap();
    let home = home_at(&cluster.url("guarded"));
    let url = |password: &str| format!("postgres://guarded:{password}@127.0.0.1:{}/guarded", cluster.port());
    let (one, other) = (serve_through(&home, &url(SECRET)).await, serve_through(&home, &url(SECRET)).await);
    until_trusted(&[&one, &other]).await;
    for _ in 0..3 {
        let alice = one.log_in(ALICE).await;
        until_in_memory(&[&one, &other], &alice.token).await;
        assert!(log_out(&one, &alice.token).await < Duration::from_millis(300), "what is published arrives");
        assert_eq!(other.check(&alice.token).await, 401);
    }
    let connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'guarded'";
    assert!(home.database.number(connections).await >= 4, "each of them listens, and reads");
    // Its end is the other end's, at once.
    one.kill().await;
    other.kill().await;
    until("the server is left", async || home.database.number(connections).await == 0).await;
    let mut command = home.command(&["user", "list"]);
    command.env("SESSIOND_DATABASE_URL", url("wrong-s3cret"));
    let refused = finish(command, "").await.refused().unwrap();
    assert!(refused.contains("password authentication failed") && !refused.contains("s3cret"), "{refused}");
}

#[needs(initdb)]
#[tokio::test]
async fn a_client_certificate_opens_a_database_without_a_password() {
    let (files, authority) = (Files::new(), Authority::new("both"));
    let ((certificate, key), (client, client_key)) = (authority.certify("localhost"), authority.certify("certified"));
    let access = "local all all trust\nhost all sessiond 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 cert map=any";
    let [certificate, key, client, client_key, root, access, map] = [
        ("server.crt", &*certificate),
        ("server.key", &key),
        ("client.crt", &client),
        ("client.key", &client_key),
        ("root.crt", &authority.certificate),
        ("access", access),
        ("map", "any /^.*$ certified"),
    ]
    .map(|(name, content)| files.write(name, content).display().to_string());
    let settings = format!(
        "ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\nssl_ca_file = '{root}'\n\
         hba_file = '{access}'\nident_file = '{map}'"
    );
    let cluster = Postgres::start(Options::with(&settings)).await.unwrap();
    cluster.rows("postgres", "CREATE ROLE certified LOGIN").await.unwrap();
    cluster.rows("postgres", "CREATE DATABASE certified OWNER certified").await.unwrap();
    let home = home_at(&cluster.url("certified"));
    for (query, opens) in [
        (format!("sslmode=verify-full&sslrootcert={root}&sslcert={client}&sslkey={client_key}"), true),
        (format!("sslmode=verify-full&sslrootcert={root}"), false),
        (format!("sslmode=verify-full&sslrootcert={root}&sslcert={client}"), false),
    ] {
        let mut command = home.command(&["migrate"]);
        let url = format!("postgres://certified@localhost:{}/certified?{query}", cluster.port());
        command.env("SESSIOND_DATABASE_URL", url);
        let finished = finish(command, "").await;
        assert_eq!(finished.ok, opens, "{query}: {}{}", finished.out, finished.err);
    }
}

/// A PostgreSQL with these files, and in it a database whose owner has a password.
async fn secured(certificate: &str, key: &str, access: &str) -> Postgres {
    let settings = format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{key}'\nhba_file = '{access}'");
    let cluster = Postgres::start(Options::with(&settings)).await.unwrap();
    cluster.rows("postgres", &format!("CREATE ROLE secure LOGIN PASSWORD '{SECRET}'")).await.unwrap();
    cluster.rows("postgres", "CREATE DATABASE secure OWNER secure").await.unwrap();
    cluster
}

#[needs(initdb)]
#[tokio::test]
async fn a_database_is_trusted_by_its_certificate_and_sent_a_password() {
    let (files, right, wrong) = (Files::new(), Authority::new("right"), Authority::new("wrong"));
    let (certificate, key) = right.certify("localhost");
    let [certificate, key, access, right, wrong] = [
        ("server.crt", &*certificate),
        ("server.key", &key),
        ("access", ACCESS),
        ("right.crt", &right.certificate),
        ("wrong.crt", &wrong.certificate),
    ]
    .map(|(name, content)| files.write(name, content).display().to_string());
    let cluster = secured(&certificate, &key, &access).await;
    let home = home_at(&cluster.url("secure"));
    let url = |password: &str, host: &str, query: &str| {
        format!("postgres://secure:{password}@{host}:{}/secure?{query}", cluster.port())
    };

    let verified = url(SECRET, "localhost", &format!("sslmode=verify-full&sslrootcert={right}"));
    let server = serve_through(&home, &verified).await;
    until_trusted(&[&server]).await;
    let alice = server.log_in(ALICE).await;
    assert_eq!(server.check(&alice.token).await, 200);
    log_out(&server, &alice.token).await;
    assert_eq!(server.check(&alice.token).await, 401);
    let encrypted =
        "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = 'secure' AND ssl";
    assert!(home.database.number(encrypted).await >= 2, "it listens, and it reads");
    assert!(!server.log().contains(SECRET) && !server.log().contains("WARN"), "{}", server.log());

    for (url, words) in [
        (url(SECRET, "localhost", "sslmode=require"), None),
        (url(SECRET, "localhost", &format!("sslmode=verify-full&sslrootcert={wrong}")), Some("UnknownIssuer")),
        (url(SECRET, "127.0.0.1", &format!("sslmode=verify-full&sslrootcert={right}")), Some("not valid for name")),
        (url(SECRET, "localhost", &format!("sslmode=verify-full&sslrootcert={key}")), Some("no certificates")),
        (
            url("wrong-s3cret", "localhost", &format!("sslmode=verify-full&sslrootcert={right}")),
            Some("password authentication failed"),
        ),
        (url(SECRET, "localhost", "sslmode=disable"), Some("no encryption")),
    ] {
        let mut command = home.command(&["user", "list"]);
        command.env("SESSIOND_DATABASE_URL", &url);
        let finished = finish(command, "").await;
        let said = format!("{}{}", finished.out, finished.err);
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(finished.ok, words.is_none(), "{said}");
        assert!(said.contains(words.unwrap_or(ALICE)), "{said}");
    }
}

#[needs(initdb, mount)]
#[tokio::test]
async fn a_name_whose_first_address_leads_to_a_standby_keeps_its_tls_at_the_next() {
    let (files, authority) = (Files::new(), Authority::new("authority"));
    let (certificate, key) = authority.certify(NAME);
    let [certificate, key, access, root] = [
        ("server.crt", &*certificate),
        ("server.key", &key),
        ("access", ACCESS_WITHOUT_PASSWORD),
        ("root.crt", &authority.certificate),
    ]
    .map(|(name, content)| files.write(name, content).display().to_string());
    let primary = secured(&certificate, &key, &access).await;
    // It has the settings of the other one.
    let standby = Postgres::follow(&primary, Options::default()).await.unwrap();
    let home = home_at(&primary.url("secure"));
    let (port, _doors) = open_doors([standby.port(), primary.port()]).await;
    let url = by_name(&format!("postgres://secure@localhost/secure?sslmode=verify-full&sslrootcert={root}"), port);
    let (server, _hosts) = serve_by_name(&home, &url, ADDRESSES).await;
    until_trusted(&[&server]).await;
    let alice = server.log_in(ALICE).await;
    log_out(&server, &alice.token).await;
    assert_eq!(server.check(&alice.token).await, 401);
    let encrypted = "SELECT ssl, count(*) >= 2 FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)
                     WHERE usename = 'secure' GROUP BY ssl";
    let all = ["t", "t"].map(|text| Some(String::from(text)));
    assert_eq!(home.database.rows(encrypted).await, [all], "it listens, and it reads");
}

#[needs(initdb)]
#[tokio::test]
async fn a_signal_has_every_connection_checked_against_the_certificates_that_are_there_now() {
    let (files, old, new) = (Files::new(), Authority::new("old"), Authority::new("new"));
    let install = |authority: &Authority| {
        let (certificate, key) = authority.certify("localhost");
        [("server.crt", &*certificate), ("server.key", &key)].map(|(name, content)| files.write(name, content))
    };
    let [certificate, key] = install(&old).map(|path| path.display().to_string());
    let [access, roots] = [("access", ACCESS_WITHOUT_PASSWORD), ("roots.crt", &*old.certificate)]
        .map(|(name, content)| files.write(name, content).display().to_string());
    let cluster = secured(&certificate, &key, &access).await;
    let home = home_at(&cluster.url("secure"));
    let url = format!("postgres://secure@localhost:{}/secure?sslmode=verify-full&sslrootcert={roots}", cluster.port());
    let server = serve_through(&home, &url).await;
    until_trusted(&[&server]).await;
    let signal = async |words: &str| {
        server.signal(Signal::HUP);
        until("the signal is answered", async || server.log().contains(words)).await;
    };
    let alice = server.log_in(ALICE).await;
    // A connection that was opened only to look for a pooler asks nothing but this, and is soon closed.
    let backends = "SELECT pid FROM pg_stat_activity
                    WHERE usename = 'secure' AND query NOT IN ('', 'SELECT pg_backend_pid()::text') ORDER BY pid";
    let mut before = home.database.rows(backends).await;
    until("those that are open stay", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let seen = std::mem::replace(&mut before, home.database.rows(backends).await);
        seen == before
    })
    .await;

    files.write("roots.crt", "not one certificate");
    signal("holds no certificates").await;
    assert_eq!(server.check(&alice.token).await, 200);
    assert_eq!(home.database.rows(backends).await, before, "those that are open stay");

    files.write("roots.crt", &format!("{}{}", old.certificate, new.certificate));
    install(&new);
    home.database.rows("SELECT pg_reload_conf()").await;
    signal("changed=\"certificates\"").await;
    let reader = server.log_in(ALICE).await;
    log_out(&server, &reader.token).await;
    until("those of before are closed, also the one that has the beats", async || {
        let now = home.database.rows(backends).await;
        !before.iter().any(|one| now.contains(one))
    })
    .await;
    assert_eq!(server.check(&alice.token).await, 200);
}
