//! Headers that count only from trusted proxies.

use sessiond_needs::on_both_stores;

use super::*;

const TRUSTING: &str = "trusted_proxies = ['127.0.0.0/8']";

#[on_both_stores]
async fn a_request_id_is_taken_over_from_trusted_proxies_only(store: StoreKind) {
    let ours = |id: &str| id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let (longest, too_long) = ("x".repeat(128), "x".repeat(129));
    let lines: [(&[u8], bool); 9] = [
        (b"abc-123", true),
        (b"!~", true),
        (b"x", true),
        (longest.as_bytes(), true),
        (too_long.as_bytes(), false),
        (b"", false),
        (b"a b", false),
        (b"a\tb", false),
        (b"caf\xe9", false),
    ];
    for (setting, trusted) in [(TRUSTING, true), ("", false), ("trusted_proxies = ['10.0.0.0/8']", false)] {
        let server = Server::with(store, setting).await;
        for path in ["/user", "/api/v1/me", "/api/v1/auth/session", "/verify", "/nothing"] {
            for (value, fit) in lines {
                let what = format!("{setting} {path} {}", value.escape_ascii());
                let reply = send_raw(&server, &get(path), &[b"X-Request-Id: ", value].concat()).await;
                let id = reply.header("x-request-id").expect("an id");
                if trusted && fit {
                    assert_eq!(id.as_bytes(), value, "{what}");
                } else {
                    assert!(ours(id), "{what}: {id}");
                }
            }
            let reply = server.send(get(path)).await;
            assert!(reply.header("x-request-id").is_some_and(ours), "none was sent");
        }
        server.stop().await;
    }
}

#[on_both_stores]
async fn a_forwarded_address_is_believed_from_trusted_proxies_only(store: StoreKind) {
    let peer = "127.0.0.1";
    // What is sent, and what the session shows when the peer is trusted.
    let row_of_proxies = format!("203.0.113.9{}", ", 127.0.0.2".repeat(33));
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[], peer),
        (&[("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
        (&[("X-Forwarded-For", "2001:db8::9")], "2001:db8::9"),
        (&[("X-Forwarded-For", "::ffff:203.0.113.9")], "203.0.113.9"),
        (&[("X-Forwarded-For", " 203.0.113.9 ")], "203.0.113.9"),
        // The client's own invention stands to the left of what the proxies added.
        (&[("X-Forwarded-For", "6.6.6.6, 203.0.113.9")], "203.0.113.9"),
        (&[("X-Forwarded-For", "6.6.6.6, 203.0.113.9, 127.0.0.2")], "203.0.113.9"),
        (&[("X-Forwarded-For", "127.0.0.3, 127.0.0.2")], "127.0.0.3"),
        (&[("X-Forwarded-For", "nonsense, 203.0.113.9")], "203.0.113.9"),
        (&[("X-Forwarded-For", "nonsense")], peer),
        (&[("X-Forwarded-For", "")], peer),
        (&[("X-Forwarded-For", "203.0.113.9, nonsense")], peer),
        // As gateways write them.
        (&[("X-Forwarded-For", "203.0.113.9:5555")], "203.0.113.9"),
        (&[("X-Forwarded-For", "[2001:db8::9]")], "2001:db8::9"),
        (&[("X-Forwarded-For", "[2001:db8::9]:5555, 127.0.0.2:80")], "2001:db8::9"),
        (&[("X-Forwarded-For", "[::ffff:203.0.113.9]:5555")], "203.0.113.9"),
        (&[("X-Forwarded-For", "203.0.113.9:x")], peer),
        // Several lines are one list.
        (&[("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.9")], "203.0.113.9"),
        (&[("X-Forwarded-For", "6.6.6.6, 203.0.113.9"), ("X-Forwarded-For", "127.0.0.2")], "203.0.113.9"),
        (&[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "nonsense")], peer),
        (&[("X-Forwarded-For", "nonsense"), ("X-Forwarded-For", "127.0.0.2")], "127.0.0.2"),
        // Empty entries are none.
        (&[("X-Forwarded-For", "203.0.113.9, , 127.0.0.2,")], "203.0.113.9"),
        (&[("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "")], "203.0.113.9"),
        // More proxies than stand in a row anywhere: the search ends before the client.
        (&[("X-Forwarded-For", &row_of_proxies)], "127.0.0.2"),
        (&[("X_Forwarded_For", "6.6.6.6")], peer),
        (&[("X.Forwarded.For", "6.6.6.6")], peer),
        (&[("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")], peer),
        (&[("X-Forwarded-For", "203.0.113.9"), ("X_Forwarded_For", "6.6.6.6")], "203.0.113.9"),
    ];
    let body = json!({"username": BOB, "password": PASSWORD});
    for (setting, trusted) in [(TRUSTING, true), ("", false), ("trusted_proxies = ['203.0.113.0/24']", false)] {
        let server = Server::with(store, setting).await;
        for &(lines, believed) in cases {
            let ask = lines.iter().fold(post("/auth/login").json(&body), |ask, (name, value)| ask.header(name, value));
            let token = server.send(ask).await.cookie().expect("a cookie");
            let shown = server.send(get("/api/v1/auth/session").bearer(&token)).await.json();
            assert_eq!(shown["session"]["ip"], if trusted { believed } else { peer }, "{setting} {lines:?}");
        }
        server.stop().await;
    }
}
