//! The cost of the most expensive request: CPU of the server's threads without the password workers, for requests of
//! every shape that a client could send, each as large as the limits allow.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use sessiond_support::http::Connection;

use crate::{
    cpu,
    report::{Report, Target},
    requests::{self, post},
    server::{ADMIN, PASSWORD, Server},
    stage::{Scratch, Stage, Store},
};

/// What no request may cost, in milliseconds.
const MOST: f64 = 1.0;
/// How often each shape is sent: enough for the operating system's accounting, which counts ticks of 10 ms.
const TIMES: u32 = 1_000;
/// The longest time for one shape.
const LONGEST: Duration = Duration::from_secs(5);
/// A body that is just within the limit.
const BODY: usize = 8 * 1024;
/// The part of a head that one header, or the path, can take.
const HEAD: usize = 31 * 1024;
/// How many sessions a user may have.
const SESSIONS: usize = 100;

/// A request, by name.
struct Shape {
    name: &'static str,
    request: Vec<u8>,
}

/// Measures every shape, and reports the most expensive.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let scratch = Scratch::new()?;
    let database = match stage.store {
        Store::Sqlite => format!("sqlite://{}", scratch.path().join("cost.db").display()),
        Store::Postgres => {
            let cluster = stage.cluster().await?;
            cluster.create("cost").await?;
            cluster.url("cost")
        }
    };
    let settings = [("SESSIOND_TRUSTED_PROXIES", "127.0.0.0/8"), ("SESSIOND_CORS_ORIGINS", "https://app.example.com")];
    let server = Server::start_with(&stage.binary, scratch.path(), &database, &settings).await?;
    let tokens = fill(&server).await?;
    let mut costs = Vec::new();
    for Shape { name, request } in shapes(&tokens) {
        let (milliseconds, status) = cost(&server, &request).await?;
        println!("  {milliseconds:7.3} ms  {status}  {name} ({} bytes)", request.len());
        costs.push((milliseconds, name));
    }
    server.stop().await?;
    let most_expensive = costs.iter().copied().max_by(|(a, _), (b, _)| a.total_cmp(b)).context("no shape")?;
    let beside = format!("{} shapes, the most expensive: {}", costs.len(), most_expensive.1);
    report.figure(
        "CPU of the most expensive request",
        most_expensive.0,
        |ms| format!("{ms:.2} ms"),
        beside,
        Target::AtMost(MOST),
    );
    Ok(())
}

/// Logs in as often as a user may, from as many devices; returns the tokens.
async fn fill(server: &Server) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    let mut connection = Connection::open(server.address).await?;
    for number in 0..SESSIONS {
        // Each is long, different, and of no known browser, so that parsing neither ends early nor repeats.
        let agent =
            format!("Mozilla/5.0 (X{number}; {}) Version/{number}", "Windows; U; iPhone OS like Mac ".repeat(20));
        let login = String::from_utf8(requests::login(ADMIN, PASSWORD))?;
        let login = login.replacen("\r\n", &format!("\r\nuser-agent: {agent}\r\n"), 1);
        let answer = connection.exchange(login.as_bytes()).await?;
        ensure!(answer == 200, "a login was answered {answer}");
        let body: serde_json::Value = serde_json::from_slice(connection.body())?;
        tokens.push(body["token"].as_str().context("no token")?.to_owned());
    }
    Ok(tokens)
}

/// The CPU that one such request costs, in milliseconds, and how it is answered.
async fn cost(server: &Server, request: &[u8]) -> Result<(f64, u16)> {
    let mut connection = Connection::open(server.address).await?;
    let answer = connection.exchange(request).await?;
    let (before, begin, mut sent) = (cpu::time_of_all_but(server.pid, "password-")?, Instant::now(), 0);
    while sent < TIMES && begin.elapsed() < LONGEST {
        connection.exchange(request).await?;
        sent += 1;
    }
    // An answer may leave before the thread that made it has done everything.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let used = cpu::time_of_all_but(server.pid, "password-")?.saturating_sub(before);
    Ok((used.as_secs_f64() * 1000.0 / f64::from(sent), answer))
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n").into_bytes()
}

/// As many copies of a piece as fit.
fn filled(piece: &str, most: usize) -> String {
    piece.repeat(most / piece.len())
}

/// Names that are all different, in a form or a query.
fn pairs(count: usize, between: &str) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let name = |n: usize| format!("{}{}", letters[n / 52] as char, letters[n % 52] as char);
    (0..count).map(name).collect::<Vec<_>>().join(between)
}

fn shapes(tokens: &[String]) -> Vec<Shape> {
    const FORM: &str = "application/x-www-form-urlencoded";
    const JSON: &str = "application/json";
    let token = &tokens[tokens.len() - 1];
    let bearer = format!("authorization: Bearer {token}\r\n");
    let mut shapes = Vec::new();
    let mut add = |name, request| shapes.push(Shape { name, request });

    // Fields.
    let names = pairs(2_704, "&");
    add("2,704 names in a form", post("/api/v1/login", "", FORM, names.as_bytes()));
    add("2,704 names in a query", get(&format!("/api/v1/sessions/list?{names}"), &bearer));
    add(
        "2,704 names in an object",
        post("/auth/login", "", JSON, format!("{{\"{}\":0}}", pairs(900, "\":0,\"")).as_bytes()),
    );
    let wide = (0..32).map(|n| format!("\"{}{n:02}\":0", "x".repeat(BODY / 32 - 10))).collect::<Vec<_>>().join(",");
    add("32 long names in an object", post("/auth/login", "", JSON, format!("{{{wide}}}").as_bytes()));
    add("brackets in brackets", post("/auth/login", "", JSON, format!("{{\"a\":{}", filled("[", BODY - 5)).as_bytes()));
    add("a long list", post("/auth/login", "", JSON, format!("{{\"a\":[{}0]}}", filled("0,", BODY - 12)).as_bytes()));
    add("a long number", post("/auth/login", "", JSON, format!("{{\"a\":{}}}", filled("9", BODY - 10)).as_bytes()));
    add("escapes", post("/auth/login", "", JSON, format!("{{\"a\":\"{}\"}}", filled("\\u00e9", BODY - 12)).as_bytes()));
    add("a form of percent signs", post("/api/v1/login", "", FORM, filled("%41", BODY).as_bytes()));

    // Names and passwords.
    for (name, letter) in [
        ("a long username", "x"),
        ("a username that grows when folded", "\u{fdfa}"),
        ("a username of combining marks", "\u{0301}\u{0323}"),
        ("a username of capital letters", "\u{0130}"),
        ("a username of wide letters", "\u{ff21}"),
    ] {
        let long = serde_json::json!({"username": filled(letter, BODY - 100), "password": "x"});
        add(name, post("/api/v1/auth/login", "", JSON, long.to_string().as_bytes()));
        let address = serde_json::json!({"username": format!("{}@x", filled(letter, 900)), "password": "12345678"});
        add("the same as an address", post("/api/v1/auth/login", "", JSON, address.to_string().as_bytes()));
    }
    let long = serde_json::json!({"username": "nobody", "password": filled("\u{fdfa}\u{0301}", 1_024)});
    add("a password of combining marks", post("/api/v1/auth/login", "", JSON, long.to_string().as_bytes()));
    let change = serde_json::json!({"current_password": "x", "new_password": filled("\u{0301}\u{0323}", BODY - 100)});
    add("a long new password", post("/api/v1/auth/password", &bearer, JSON, change.to_string().as_bytes()));

    // Heads.
    let cookies = filled("_me_sess=x;", HEAD);
    add("cookies of one name", get("/verify", &format!("cookie: {cookies}\r\n")));
    add("semicolons for cookies", get("/verify", &format!("cookie: {}\r\n", filled(";", HEAD))));
    let ours = tokens.iter().map(|token| format!("_me_sess={token}")).collect::<Vec<_>>().join("; ");
    add("a hundred good cookies", get("/verify", &format!("cookie: {ours}\r\n")));
    let four = tokens.iter().take(4).map(|token| format!("_me_sess={token}")).collect::<Vec<_>>().join("; ");
    add("four good cookies", get("/verify", &format!("cookie: {four}\r\n")));
    add("a chain of proxies", get("/user", &format!("x-forwarded-for: {}\r\n{bearer}", filled("127.0.0.1,", HEAD))));
    add("a chain of proxies at a login", {
        let login = serde_json::json!({"username": "nobody", "password": "12345678"}).to_string();
        let headers = format!("x-forwarded-for: {}\r\n", filled("[::ffff:127.0.0.1]:1,", HEAD));
        post("/api/v1/auth/login", &headers, JSON, login.as_bytes())
    });
    for (name, host) in [
        ("an origin of letters", "x"),
        ("an origin of dots", "a."),
        ("an origin in punycode", "xn--a-"),
        ("an origin of escapes", "%41"),
        ("an origin of letters to be folded", "\u{fdfa}"),
    ] {
        let origin = format!("origin: https://{}\r\n", filled(host, HEAD));
        add(name, post("/api/v1/auth/logout", &origin, JSON, b""));
    }
    add("a long host", format!("GET /user HTTP/1.1\r\nhost: {}\r\n\r\n", filled("a.", HEAD)).into_bytes());
    add("a host in punycode", {
        let host = filled("xn--a-", HEAD / 2);
        format!("POST /auth/logout HTTP/1.1\r\nhost: {host}\r\norigin: https://{host}\r\n\r\n").into_bytes()
    });
    let many: String = (0..98).map(|n| format!("x-{n}: {}\r\n", "y".repeat(300))).collect();
    add("ninety-eight headers", get("/verify", &many));
    add("a head over the limit", get("/verify", &format!("x: {}\r\n", filled("y", 40 * 1024))));
    let asked = filled("x-a,", HEAD / 2);
    add("a preflight that asks for much", {
        let headers = format!(
            "origin: https://app.example.com\r\naccess-control-request-method: POST\r\naccess-control-request-headers: {asked}\r\n"
        );
        format!("OPTIONS /api/v1/auth/login HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\r\n").into_bytes()
    });
    add(
        "a long user agent",
        post("/api/v1/auth/login", &format!("user-agent: {}\r\n", filled("(", HEAD)), JSON, b"{}"),
    );
    add("a long path", get(&filled("/x", HEAD), ""));
    add("a long id of escapes", {
        let path = format!("/api/v1/auth/sessions/{}", filled("%41", HEAD));
        format!("DELETE {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{bearer}\r\n").into_bytes()
    });

    // Lists.
    add("a list of sessions", get("/api/v1/auth/sessions?limit=100", &bearer));
    add("another list of sessions", get("/api/v1/sessions/list?count=100", &bearer));
    let filter = filled("a", HEAD);
    add("a list with a long filter", get(&format!("/api/v1/sessions/list?filter={filter}"), &bearer));
    let sort = "%7B%22device.os.version%22:1,%22device.os.name%22:1,%22device.name%22:1,%22loginAt%22:1%7D";
    add("a sorted list", get(&format!("/api/v1/sessions/list?sort={sort}"), &bearer));
    add("one session of the list", get("/api/v1/sessions/info?sessionId=23456789ABCDEFGHJ", &bearer));
    add("a long cursor", get(&format!("/api/v1/auth/sessions?cursor={}", filled("A", HEAD)), &bearer));

    // Last, since each ends the session of another token: the user has as many sessions as one may have.
    add("a login with the right password, at the cap", requests::login(ADMIN, PASSWORD));
    shapes
}
