//! An impostor of the database that asks for its password does not get it.

use std::sync::{Arc, Mutex};

use sessiond_support::process::Finished;
use sessiond_support::wait::until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::StoreKind;
use crate::harness::process::{Home, finish};

const SECRET: &str = "hunter2-of-the-database";
/// What a client asks for TLS with.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// What a server asks for a password with: in clear, as MD5, in clear behind a notice, and by SCRAM.
const CLEARTEXT: &[u8] = b"R\0\0\0\x08\0\0\0\x03";
const MD5: &[u8] = b"R\0\0\0\x0c\0\0\0\x05salt";
const NOTICE_FIRST: &[u8] = b"N\0\0\0\x10SNOTICE\0Mx\0\0R\0\0\0\x08\0\0\0\x03";
const SCRAM: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";

/// An impostor without TLS that asks for the password in a given way. It records what is sent after the question.
struct Impostor {
    port: u16,
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
    _tasks: JoinSet<()>,
}

impl Impostor {
    async fn asking(question: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let answers = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let (recorded, mut tasks) = (Arc::clone(&answers), JoinSet::new());
        tasks.spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let answer = ask(&mut client, question).await.unwrap_or_default();
                recorded.lock().expect("no panic").push(answer);
            }
        });
        Self { port, answers, _tasks: tasks }
    }

    /// Runs a command whose database it passes for.
    async fn pass_for_the_database(&self, host: &str, query: &str) -> Finished {
        let home = Home::new(StoreKind::Sqlite);
        let mut command = home.command(&["user", "list"]);
        command.env("SESSIOND_DATABASE_URL", format!("postgres://me:{SECRET}@{host}:{}/x{query}", self.port));
        finish(command, "").await
    }

    /// What it was sent by a client that has disconnected.
    async fn received(&self) -> Vec<Vec<u8>> {
        let received = || self.answers.lock().expect("no panic").clone();
        until("it has noticed that the client is gone", async || !received().is_empty()).await;
        received()
    }
}

/// Refuses TLS, reads the startup message, asks, and returns all bytes that the client sends until it disconnects.
async fn ask(client: &mut TcpStream, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut begin = [0; 8];
    client.read_exact(&mut begin).await?;
    if begin == SSL_REQUEST {
        client.write_all(b"N").await?;
        client.read_exact(&mut begin).await?;
    }
    let length = u32::from_be_bytes([begin[0], begin[1], begin[2], begin[3]]);
    let mut who = vec![0; length as usize - 8];
    client.read_exact(&mut who).await?;
    client.write_all(question).await?;
    let mut answer = Vec::new();
    // A client that says nothing more is let go by its own deadline.
    let _ = client.read_to_end(&mut answer).await;
    Ok(answer)
}

#[tokio::test]
async fn a_password_is_never_sent_in_clear_nor_as_md5() {
    for question in [CLEARTEXT, MD5, NOTICE_FIRST] {
        for query in ["", "?sslmode=prefer", "?sslmode=disable"] {
            let impostor = Impostor::asking(question).await;
            let refused = impostor.pass_for_the_database("127.0.0.1", query).await.refused().unwrap();
            assert!(refused.contains("without TLS") && refused.contains("sslmode=verify-full"), "{query}: {refused}");
            assert!(!refused.contains(SECRET), "{refused}");
            let received = impostor.received().await;
            assert!(received.iter().all(Vec::is_empty), "{query}: {received:?}");
        }
    }
}

#[tokio::test]
async fn a_password_is_proved_by_scram_without_being_sent() {
    let impostor = Impostor::asking(SCRAM).await;
    let query = impostor.pass_for_the_database("127.0.0.1", "?sslmode=disable");
    query.await.refused().unwrap();
    let received = impostor.received().await.concat();
    assert!(received.starts_with(b"p") && received.windows(13).any(|words| words == b"SCRAM-SHA-256"), "{received:?}");
    assert!(!received.windows(SECRET.len()).any(|words| words == SECRET.as_bytes()), "{received:?}");
}

#[tokio::test]
async fn another_machine_without_tls_learns_nothing_unless_the_url_names_a_mode() {
    let authority = rcgen::generate_simple_self_signed([String::from("db")]).expect("a certificate");
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("root.crt");
    std::fs::write(&root, authority.cert.pem()).expect("written");
    let root = format!("sslrootcert={}", root.display());
    // An address that is not known to be this machine's.
    for (query, words, asked) in [
        (format!("?{root}"), "does not support TLS", false),
        (String::from("?sslmode=require"), "does not support TLS", false),
        (String::from("?sslmode=disable"), "without TLS", true),
    ] {
        let impostor = Impostor::asking(CLEARTEXT).await;
        let refused = impostor.pass_for_the_database("0.0.0.0", &query).await.refused().unwrap();
        assert!(refused.contains(words), "{query}: {refused}");
        let received = impostor.received().await;
        assert!(received.iter().all(Vec::is_empty), "{query}: {received:?}");
        assert_eq!(refused.contains("scram-sha-256"), asked, "{query}: {refused}");
    }
}

#[tokio::test]
async fn what_the_environment_would_add_to_a_url_is_set_over_or_refused() {
    let impostor = Impostor::asking(SCRAM).await;
    let home = Home::new(StoreKind::Sqlite);
    let asking = |name: &str, value: &str| {
        let mut command = home.command(&["user", "list"]);
        command.env("SESSIOND_DATABASE_URL", format!("postgres://me@127.0.0.1:{}/x?sslmode=disable", impostor.port));
        command.env(name, value);
        finish(command, "")
    };
    for (name, value) in [("PGOPTIONS", "-c fsync=off"), ("PGOPTIONS", "")] {
        let refused = asking(name, value).await.refused().unwrap();
        assert!(refused.contains("the environment variable PGOPTIONS would count beside it"), "{refused}");
    }
    assert!(impostor.answers.lock().expect("no panic").is_empty(), "it was not asked");
    asking("PGPASSWORD", SECRET).await.refused().unwrap();
    assert!(impostor.received().await.concat().starts_with(b"p"), "it proves to know a password, which is empty");
}

#[tokio::test]
async fn a_password_that_is_no_part_of_a_url_as_it_is_is_answered_with_percent_encoding() {
    let home = Home::new(StoreKind::Sqlite);
    for password in ["p@ss:w/o?r#d", "p@ss", "w/o", "o?r", "r#d", "100%", "%zz"] {
        for arguments in [&["check-config"][..], &["user", "list"]] {
            let mut command = home.command(arguments);
            command.env("SESSIOND_DATABASE_URL", format!("postgres://me:{password}@db.example/sessions"));
            let refused = finish(command, "").await.refused().unwrap();
            assert!(refused.contains("percent-encoding") && refused.lines().count() == 1, "{password}: {refused}");
            assert!(!refused.contains("ss:w") && !refused.contains("zz"), "{password}: {refused}");
        }
    }
}
