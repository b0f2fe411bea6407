//! What visitors send.

use sessiond_support::token::{Token, text};

/// The password of every account.
pub const PASSWORD: &str = "soak-7Qp2-staple-kV9x";

/// A check, as a proxy asks it.
pub fn check(token: &Token) -> Vec<u8> {
    get("/verify", &format!("cookie: _me_sess={}\r\n", text(token)))
}

/// The sessions of a user.
pub fn list(token: &Token) -> Vec<u8> {
    get("/api/v1/auth/sessions", &format!("authorization: Bearer {}\r\n", text(token)))
}

/// A login, answered with a token.
pub fn login(username: &str, password: &str) -> Vec<u8> {
    let body = serde_json::json!({"username": username, "password": password, "transport": "token"});
    post("/api/v1/auth/login", "", &body.to_string())
}

/// A logout by the canonical route.
pub fn logout(token: &Token) -> Vec<u8> {
    post("/api/v1/auth/logout", &format!("authorization: Bearer {}\r\n", text(token)), "")
}

/// A logout as front ends of Medama send it.
pub fn logout_by_cookie(token: &Token) -> Vec<u8> {
    post("/auth/logout", &format!("cookie: _me_sess={}\r\n", text(token)), "")
}

/// A login that is no JSON.
pub fn broken() -> Vec<u8> {
    post("/api/v1/auth/login", "", r#"{"username": "#)
}

/// A head that is longer than any may be.
pub fn too_long() -> Vec<u8> {
    get("/verify", &format!("x-filler: {}\r\n", "a".repeat(40_000)))
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n").into_bytes()
}

fn post(path: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    format!("POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}{kind}content-length: {length}\r\n\r\n{body}")
        .into_bytes()
}
