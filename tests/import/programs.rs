//! Files and hashes that other programs make while the test runs.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sessiond_needs::{needs, on_both_stores};

use super::{import, status};
use crate::harness::process::Home;
use crate::harness::{PASSWORD, StoreKind};

/// Of these, two are longer than bcrypt looks at, and one has a letter that can be written in two ways.
const PASSWORDS: [&str; 4] = [
    "s p a c e s",
    "Größenwahn",
    "A\u{30a}ngstro\u{308}m",
    "a password of more than seventy-two bytes, which is where bcrypt no longer looks",
];

/// What a program prints.
fn output(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a program");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs a script of the Python that knows the hashes of others.
fn python(script: &str, input: &str, folder: &Path) -> String {
    let python = sessiond_machine::hashers().expect("a Python");
    output(Command::new(python).arg("-c").arg(script).current_dir(folder), input)
}

/// A user for each password.
fn name(number: usize) -> String {
    format!("user{number}")
}

/// Imports a file of such users, each of whom then logs in with their password and no other. How a hash is read does not
/// depend on the store, and many of these take long.
async fn assert_imported(format: &[&str], file: &str) {
    let home = Home::new(StoreKind::Sqlite);
    let count = PASSWORDS.len();
    assert_eq!(import(&home, format, file).await.done().unwrap(), format!("imported {count}\n"), "{file}");
    let server = home.serve().await;
    for (number, password) in PASSWORDS.iter().enumerate() {
        let other = PASSWORDS[(number + 1) % count];
        assert_eq!(status(&server, &name(number), other).await, 401, "{number}: {file}");
        assert_eq!(status(&server, &name(number), password).await, 200, "{number}: {file}");
        assert_eq!(status(&server, &name(number), password).await, 200, "{number}: {file}");
    }
    server.stop().await;
}

#[needs(htpasswd)]
#[tokio::test]
async fn files_of_htpasswd() {
    let folder = tempfile::tempdir().expect("a folder");
    for algorithm in [&["-B", "-C", "5"][..], &["-2"], &["-5", "-r", "10000"]] {
        let path = folder.path().join(algorithm[0]);
        let path = path.to_str().expect("UTF-8");
        for (number, password) in PASSWORDS.iter().enumerate() {
            let create: &[&str] = if number == 0 { &["-c"] } else { &[] };
            let mut htpasswd = Command::new("htpasswd");
            htpasswd.arg("-i").args(create).args(algorithm).args([path, &name(number)]).stderr(Stdio::null());
            output(&mut htpasswd, password);
        }
        let file = std::fs::read_to_string(path).expect("a file");
        assert_imported(&["--format", "htpasswd"], &file).await;
    }
}

#[needs(htpasswd)]
#[on_both_stores]
async fn what_htpasswd_makes_unasked_is_refused_by_name(store: StoreKind) {
    let home = Home::new(store);
    let line = |arguments: &[&str]| {
        let mut htpasswd = Command::new("htpasswd");
        output(htpasswd.args(["-n", "-i"]).args(arguments).arg("bob").stderr(Stdio::null()), "secret")
    };
    for (arguments, named) in [(&[][..], "$apr1$"), (&["-s"], "{SHA}"), (&["-d"], "DES"), (&["-p"], "clear text")] {
        let refused = import(&home, &["--format", "htpasswd"], &line(arguments)).await;
        assert!(refused.out.contains("line 1: bob: its hash "), "{arguments:?}");
        assert!(refused.out.contains(named), "{arguments:?}: {}", refused.out);
        refused.refused().unwrap();
    }
}

#[needs(argon2)]
#[tokio::test]
async fn hashes_of_the_reference_argon2() {
    for (scheme, arguments) in [
        ("argon2id", &["-id", "-t", "2", "-k", "19456", "-p", "1"][..]),
        ("argon2i", &["-i", "-v", "10", "-t", "3", "-k", "4096", "-p", "4", "-l", "24"]),
        ("medama", &["-id", "-t", "1", "-k", "65536", "-p", "8"]),
    ] {
        let line = |(number, password): (usize, &&str)| {
            let mut argon2 = Command::new("argon2");
            let hash = output(argon2.arg("saltsaltsalt").args(arguments).arg("-e"), password);
            serde_json::json!({"username": name(number), "scheme": scheme, "hash": hash.trim()}).to_string() + "\n"
        };
        let file: String = PASSWORDS.iter().enumerate().map(line).collect();
        assert_imported(&[], &file).await;
    }
}

/// Makes Django's users and dumps them as `manage.py dumpdata auth.user` does.
const DJANGO: &str = r#"
import json, sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"], USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    PASSWORD_HASHERS=["django.contrib.auth.hashers." + name for name in (
        "PBKDF2PasswordHasher", "Argon2PasswordHasher", "BCryptSHA256PasswordHasher", "ScryptPasswordHasher",
        "BCryptPasswordHasher")])
django.setup()
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.core.management import call_command
call_command("migrate", verbosity=0)
for number, password in enumerate(json.load(sys.stdin)):
    # The library of bcrypt no longer cuts off what does not count.
    password = password[:72] if HASHER == "bcrypt" else password
    User.objects.create(username=f"user{number}", password=make_password(password, hasher=HASHER))
call_command("dumpdata", "auth.user", format=FORMAT)
"#;

#[needs(hashers)]
#[tokio::test]
async fn dumps_of_django() {
    let folder = tempfile::tempdir().expect("a folder");
    let passwords = serde_json::to_string(&PASSWORDS).expect("JSON");
    for (hasher, format) in [
        ("pbkdf2_sha256", "json"),
        ("argon2", "jsonl"),
        ("bcrypt_sha256", "json"),
        ("scrypt", "json"),
        ("bcrypt", "json"),
    ] {
        let script = DJANGO
            .replace("HASHER ", &format!("{hasher:?} "))
            .replace("HASHER)", &format!("{hasher:?})"))
            .replace("=FORMAT", &format!("={format:?}"));
        let file = python(&script, &passwords, folder.path());
        assert_imported(&["--format", "django"], &file).await;
    }
}

#[needs(hashers)]
#[tokio::test]
async fn hashes_of_other_libraries_of_python() {
    const SCRIPT: &str = r#"
import json, sys, hashlib, argon2, bcrypt
from passlib.hash import pbkdf2_sha256, pbkdf2_sha512, scrypt, sha512_crypt
passwords = json.load(sys.stdin)
for number, password in enumerate(passwords):
    data = password.encode()
    digest = hashlib.sha256(data).hexdigest().encode()
    made = MADE
    print(json.dumps({"username": f"user{number}", "scheme": SCHEME, "hash": made.decode() if isinstance(made, bytes) else made}))
"#;
    let folder = tempfile::tempdir().expect("a folder");
    let passwords = serde_json::to_string(&PASSWORDS).expect("JSON");
    for (scheme, made) in [
        ("bcrypt", "bcrypt.hashpw(data[:72], bcrypt.gensalt(4, b'2a'))"),
        ("rocketchat", "bcrypt.hashpw(digest, bcrypt.gensalt(10))"),
        ("argon2id", "argon2.PasswordHasher().hash(password)"),
        ("passlib", "pbkdf2_sha256.hash(password)"),
        ("passlib", "pbkdf2_sha512.hash(password)"),
        ("passlib", "scrypt.hash(password)"),
        ("passlib", "sha512_crypt.using(rounds=5001).hash(password)"),
    ] {
        let script = SCRIPT.replace("MADE", made).replace("SCHEME", &format!("{scheme:?}"));
        let file = python(&script, &passwords, folder.path());
        assert_imported(&[], &file).await;
    }
}

/// What Keycloak exports of two users with passwords, in its two schemes, and of one without.
const REALM: &str = r#"{"realm":"example","users":[
  {"username":"user0","enabled":true,"firstName":"Al","lastName":"Ice","email":"a@example.com","credentials":[
    {"type":"otp","secretData":"{}","credentialData":"{}"},
    {"type":"password","secretData":"{\"value\":\"bEpkaq0Q0Get1ft52QeKFtqD1Q+BZwqOdZOySebZSTY=\",\"salt\":\"MDEyMzQ1Njc4OWFiY2RlZg==\"}",
     "credentialData":"{\"hashIterations\":600000,\"algorithm\":\"pbkdf2-sha256\"}"}]},
  {"username":"user1","enabled":true,"credentials":[
    {"type":"password","secretData":"{\"value\":\"Doqf9eCb9GPa1MtEkjubctAR6TT46p7wSCJlAey4QLA=\",\"salt\":\"c2FsdHNhbHQxMjM0\"}",
     "credentialData":"{\"hashIterations\":2,\"algorithm\":\"argon2\",\"additionalParameters\":{\"memory\":[\"19456\"],\"parallelism\":[\"1\"],\"type\":[\"id\"],\"version\":[\"1.3\"]}}"}]},
  {"username":"user2","enabled":false}]}"#;

#[needs(jq)]
#[on_both_stores]
async fn what_the_line_in_the_docs_makes_of_keycloaks_export(store: StoreKind) {
    let docs = include_str!("../../docs/accounts.md");
    let line = docs.split("jq -c '").nth(1).and_then(|rest| rest.split("' realm.json").next()).expect("a line");
    let file = output(Command::new("jq").arg("-c").arg(line), REALM);
    let home = Home::new(store);
    assert_eq!(import(&home, &[], &file).await.done().unwrap(), "imported 3\n", "{file}");
    let listed = home.run(&["user", "list"]).await.done().unwrap();
    assert!(listed.contains("enabled   user0  a@example.com  Al Ice\n"), "{listed}");
    assert!(listed.contains("disabled  user2  -  user2\n"), "{listed}");
    let server = home.serve().await;
    for (number, expected) in [(0, 200), (1, 200), (2, 401)] {
        assert_eq!(status(&server, &name(number), PASSWORD).await, expected, "{number}");
    }
    server.stop().await;
}
