//! An authenticator as people have one: it takes a secret from what the server shows, and tells codes by the clock.

use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sessiond::domain::clock::{Clock as _, SystemClock, Timestamp};
use sha1::Sha1;

use crate::harness::process::Process;
use crate::harness::{PASSWORD, Reply, Server, TestRequest, delete, post};

pub const SECOND_FACTOR: &str = "/api/v1/auth/second-factor";
/// How long a code is shown.
pub const STEP: Duration = Duration::from_secs(30);

/// A secret, and the recovery codes that were shown with it.
pub struct Authenticator {
    pub secret: String,
    pub recovery: Vec<String>,
}

impl Authenticator {
    /// The code that it shows at a moment.
    pub fn code(&self, at: Timestamp) -> String {
        code(&self.secret, at)
    }

    /// The one that it shows next by the real clock: another than the last, and right already.
    pub fn next(&self) -> String {
        self.code(SystemClock.now().after(STEP))
    }
}

/// The code of a secret at a moment.
pub fn code(secret: &str, at: Timestamp) -> String {
    let key = BASE32_NOPAD.decode(secret.as_bytes()).expect("base32");
    let mac = Hmac::<Sha1>::new_from_slice(&key).expect("any length");
    let mac = mac.chain_update((at.seconds() / 30).to_be_bytes()).finalize().into_bytes();
    let offset = usize::from(mac[19] & 15);
    let four = u32::from_be_bytes(mac[offset..offset + 4].try_into().expect("four"));
    format!("{:06}", (four & 0x7fff_ffff) % 1_000_000)
}

/// The start of an enrolment, with a code where one is given.
pub fn start(code: Option<&str>) -> TestRequest {
    let mut body = json!({"current_password": PASSWORD});
    if let Some(code) = code {
        body["code"] = json!(code);
    }
    post(SECOND_FACTOR).json(&body)
}

/// The confirmation of an enrolment.
pub fn confirm(enrolment: &Value, code: &str) -> TestRequest {
    post(&format!("{SECOND_FACTOR}/confirm")).json(&json!({"enrolment": enrolment, "code": code}))
}

/// The removal of a factor.
pub fn remove(password: &str, code: &str) -> TestRequest {
    delete(SECOND_FACTOR).json(&json!({"current_password": password, "code": code}))
}

/// The texts of a list in an answer.
pub fn texts(reply: &Reply, name: &str) -> Vec<String> {
    let list = reply.json()[name].as_array().unwrap_or_else(|| panic!("no {name}: {}", reply.text())).clone();
    list.iter().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

impl Server {
    /// Forgets what was wrong, so that the next code is checked.
    pub async fn forgive(&self) {
        self.database.execute("DELETE FROM throttles").await;
    }

    /// Sets a second factor up through a session, whose new token is returned. Time moves on, so that the next code is new.
    pub async fn set_up(&self, token: &str) -> (Authenticator, String) {
        let started = self.send(start(None).bearer(token)).await;
        assert_eq!(started.status, 200, "{}", started.text());
        let secret = started.json()["secret"].as_str().expect("a secret").to_owned();
        let code = code(&secret, self.now());
        let confirmed = self.send(confirm(&started.json()["enrolment"], &code).bearer(token)).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text());
        let token = confirmed.json()["token"].as_str().expect("a token").to_owned();
        self.advance(STEP);
        (Authenticator { secret, recovery: texts(&confirmed, "recovery_codes") }, token)
    }
}

/// A login with a code, that asks for the token in the body.
pub fn login_with_code(username: &str, code: &str) -> TestRequest {
    let body = json!({"username": username, "password": PASSWORD, "code": code, "transport": "token"});
    post("/api/v1/auth/login").json(&body)
}

impl Process {
    /// The same on a server that runs by the real clock.
    pub async fn set_up(&self, token: &str) -> (Authenticator, String) {
        let started = self.send(start(None).bearer(token)).await.json();
        let secret = started["secret"].as_str().expect("a secret").to_owned();
        let confirmed =
            self.send(confirm(&started["enrolment"], &code(&secret, SystemClock.now())).bearer(token)).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text());
        let token = confirmed.json()["token"].as_str().expect("a token").to_owned();
        (Authenticator { secret, recovery: texts(&confirmed, "recovery_codes") }, token)
    }
}
