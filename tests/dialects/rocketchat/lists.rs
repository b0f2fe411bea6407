//! Lists of sessions: pages, filters, sorting, and queries that are not in the contract.

use sessiond_needs::on_both_stores;

use super::*;

/// What a row says beside the session and the user.
fn row(login: &LoggedIn, device: &str, host: &str, at: &str, current: bool) -> String {
    let (session, user) = (&login.session, &login.user);
    format!(
        r#"{{"sessionId":"{session}","_id":"{session}","userId":"{user}","device":{device},"host":"{host}","ip":"127.0.0.1","loginAt":"{at}","current":{current}}}"#
    )
}

#[on_both_stores]
async fn a_list_shows_ones_own_live_sessions_newest_first(store: StoreKind) {
    let server = Server::start(store).await;
    let host = server.address();
    log_in(&server, ALICE, CHROME).await;
    let ended = log_in(&server, BOB, CHROME).await;
    server.send(post("/api/v1/logout").by(&ended)).await;
    let chrome = log_in(&server, BOB, CHROME).await;
    server.advance(Duration::from_millis(1500));
    let curl = log_in(&server, BOB, CURL).await;
    let newest = row(
        &curl,
        r#"{"type":"unknown","name":"curl","longVersion":"8.5.0","version":"8","os":{"name":"","version":""}}"#,
        &host,
        "2026-01-02T03:04:07.178Z",
        false,
    );
    let oldest = row(
        &chrome,
        r#"{"type":"desktop","name":"Chrome","longVersion":"126.0.1.2","version":"126","os":{"name":"Linux","version":""}}"#,
        &host,
        "2026-01-02T03:04:05.678Z",
        true,
    );
    let list = server.send(get("/api/v1/sessions/list").by(&chrome)).await;
    let body = format!(r#"{{"sessions":[{newest},{oldest}],"count":50,"offset":0,"total":2,"success":true}}"#);
    assert_answer(&list, 200, &body, "list");
    // One of them is the same row, and `success`.
    let info = query("/api/v1/sessions/info", &[("sessionId", &chrome.session)]);
    let body = format!(r#"{},"success":true}}"#, oldest.strip_suffix('}').expect("an object"));
    assert_answer(&server.send(get(&info).by(&chrome)).await, 200, &body, "info");
    let seen_by_curl = body.replace(r#""current":true"#, r#""current":false"#);
    assert_answer(&server.send(get(&info).by(&curl)).await, 200, &seen_by_curl, "from another session");
    server.stop().await;
}

/// Which of the four a list holds, by their numbers, and its count, offset and total.
fn listed(reply: &Reply, logins: &[LoggedIn; 4]) -> (String, [Value; 3]) {
    let body = reply.json();
    assert_eq!((reply.status, &body["success"]), (200, &json!(true)), "{body}");
    let number = |row: &Value| logins.iter().position(|login| row["sessionId"] == json!(login.session)).expect("one");
    let numbers = body["sessions"].as_array().expect("rows").iter().map(|row| number(row).to_string()).collect();
    (numbers, ["count", "offset", "total"].map(|name| body[name].clone()))
}

#[on_both_stores]
async fn a_list_is_cut_into_pages(store: StoreKind) {
    let server = Server::start(store).await;
    let logins = four(&server).await;
    for (pairs, rows, count, offset) in [
        (&[][..], "3210", 50, 0),
        (&[("count", "2")], "32", 2, 0),
        (&[("count", "2"), ("offset", "1")], "21", 2, 1),
        (&[("count", "2"), ("offset", "3")], "0", 2, 3),
        (&[("offset", "4")], "", 50, 4),
        (&[("offset", "18446744073709551615")], "", 50, u64::MAX),
        (&[("count", "0")], "3210", 50, 0),
        (&[("count", "100")], "3210", 100, 0),
        (&[("count", "101")], "3210", 100, 0),
    ] {
        let reply = server.send(get(&query("/api/v1/sessions/list", pairs)).by(&logins[0])).await;
        let expected = (rows.to_owned(), [json!(count), json!(offset), json!(4)]);
        assert_eq!(listed(&reply, &logins), expected, "{pairs:?}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_filter_is_a_literal_piece_of_what_the_row_shows(store: StoreKind) {
    let server = Server::start(store).await;
    let logins = four(&server).await;
    let (session, user) = (logins[1].session.to_uppercase(), logins[0].user.to_lowercase());
    for (filter, rows) in [
        ("", "3210"),
        ("chrome", "0"),
        ("FIRE", "1"),
        ("cURL", "2"),
        ("desktop", "10"),
        ("unknown", "32"),
        ("linux", "0"),
        ("windows 10", "1"),
        ("ac.me+sync[1]", "3"),
        ("[1]", "3"),
        ("ac.m.", ""),
        ("c.rl", ""),
        (".*", ""),
        ("^", ""),
        ("(", ""),
        ("\\", ""),
        ("%", ""),
        ("_", ""),
        ("chrome|curl", ""),
        ("127.0.0.1", ""),
        (&session, "1"),
        (&user, "3210"),
    ] {
        let reply = server.send(get(&query("/api/v1/sessions/list", &[("filter", filter)])).by(&logins[0])).await;
        let expected = (rows.to_owned(), [json!(50), json!(0), json!(rows.len())]);
        assert_eq!(listed(&reply, &logins), expected, "{filter:?}");
    }
    // Filtered first, then cut.
    let cut = query("/api/v1/sessions/list", &[("filter", "desktop"), ("count", "1"), ("offset", "1")]);
    let reply = server.send(get(&cut).by(&logins[0])).await;
    assert_eq!(listed(&reply, &logins), (String::from("0"), [json!(1), json!(1), json!(2)]));
    server.stop().await;
}

#[on_both_stores]
async fn a_list_is_sorted_by_the_keys_there_are_and_refused_for_others(store: StoreKind) {
    let server = Server::start(store).await;
    let logins = four(&server).await;
    let list = |sort: &str| get(&query("/api/v1/sessions/list", &[("sort", sort)])).by(&logins[0]);
    for (sort, rows) in [
        ("{}", "3210"),
        (r#"{"loginAt":-1}"#, "3210"),
        (r#"{"loginAt":1}"#, "0123"),
        (r#"{"device.name":1}"#, "0132"),
        (r#"{"device.name":-1}"#, "2310"),
        (r#"{"device.os.name":1}"#, "3201"),
        (r#"{"device.os.name":-1}"#, "1032"),
        (r#"{"device.os.version":1}"#, "3201"),
        (r#"{"device.os.version":-1}"#, "1320"),
        (r#"{"device.os.version":1,"loginAt":1}"#, "0231"),
        (r#"{"device.os.name":-1,"device.name":1}"#, "1032"),
        (r#"{"device.os.name":-1,"device.name":-1}"#, "1023"),
    ] {
        let reply = server.send(list(sort)).await;
        assert_eq!(listed(&reply, &logins).0, rows, "{sort}");
    }
    let body = r#"{"success":false,"error":"error-invalid-sort-keys"}"#;
    for sort in [
        "",
        "{",
        "[]",
        "1",
        "loginAt",
        r#"{"loginAt":0}"#,
        r#"{"loginAt":2}"#,
        r#"{"loginAt":"1"}"#,
        r#"{"loginAt":true}"#,
        r#"{"token":1}"#,
        r#"{"ip":1}"#,
        r#"{"$where":1}"#,
        r#"{"loginAt":1,"host":1}"#,
        r#"{"loginAt":1,"loginAt":-1}"#,
        r#"{"loginat":1}"#,
    ] {
        assert_answer(&server.send(list(sort)).await, 400, body, sort);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_query_that_is_not_in_the_contract_is_refused(store: StoreKind) {
    let server = Server::start(store).await;
    let (bob, alice) = (log_in(&server, BOB, CURL).await, log_in(&server, ALICE, CURL).await);
    let extra = invalid("must NOT have additional properties");
    let number = invalid("must be integer");
    let info = |id: &str| query("/api/v1/sessions/info", &[("sessionId", id)]);
    let both = query("/api/v1/sessions/info", &[("sessionId", &bob.session), ("userId", &bob.user)]);
    for (target, body) in [
        (query("/api/v1/sessions/list", &[("userId", &alice.user)]), &*extra),
        (query("/api/v1/sessions/list", &[("count", "1"), ("Count", "2")]), &extra),
        (query("/api/v1/sessions/list", &[("count", "x")]), &number),
        (query("/api/v1/sessions/list", &[("count", "-1")]), &number),
        (query("/api/v1/sessions/list", &[("offset", "1.5")]), &number),
        (query("/api/v1/sessions/list", &[("offset", "")]), &number),
        ("/api/v1/sessions/info".into(), &missing()),
        ("/api/v1/sessions/info?sessionid=x".into(), &missing()),
        (both, &extra),
        (info(&alice.session), NOT_FOUND),
        (info("23456789ABCDEFGHJ"), NOT_FOUND),
        (info("not an id"), NOT_FOUND),
        (info(""), NOT_FOUND),
        (info(&bob.token), NOT_FOUND),
    ] {
        assert_answer(&server.send(get(&target).by(&bob)).await, 400, body, &target);
    }
    server.stop().await;
}
