//! The second factor on the pages, as a browser without scripts uses them.

use std::time::Duration;

use futures_util::future::join_all;
use sessiond_needs::{needs, on_both_stores};

use crate::harness::authenticator::{Authenticator, STEP, code};
use crate::harness::fleet::home_at;
use crate::harness::process::{Home, Process};
use crate::harness::{ALICE, BOB, BOB_EMAIL, PASSWORD, Reply, Server, StoreKind, TestRequest, get, post};
use crate::wire::outage::send_all;

/// A form as it is sent from the page that it stands on.
fn form(path: &str, pairs: &[(&str, &str)]) -> TestRequest {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    post(path).form(&body)
}

fn sign_in(return_to: &str) -> TestRequest {
    form("/login", &[("username", BOB), ("password", PASSWORD), ("return_to", return_to), ("remember", "true")])
}

/// The value of the cookie of a login that waits for its code.
fn waiting(reply: &Reply) -> String {
    let lines = reply.all("set-cookie");
    let [line] = lines[..] else { panic!("{lines:?}") };
    let value = line.strip_prefix("_me_sess_code=").and_then(|rest| rest.split(';').next()).expect(line);
    for attribute in ["; Path=/login", "; HttpOnly", "; SameSite=Strict", "; Secure", "; Max-Age=300"] {
        assert!(line.contains(attribute), "{line}");
    }
    value.to_owned()
}

fn with_code(waiting: &str, code: &str) -> TestRequest {
    form("/login/code", &[("code", code), ("return_to", "/reports")])
        .header("Cookie", &format!("_me_sess_code={waiting}"))
}

fn to(reply: &Reply) -> (u16, Option<&str>) {
    (reply.status, reply.header("location"))
}

/// The part of a text between two others.
fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {rest}")).0
}

/// Signs Bob in and sets a second factor up, all on the pages. Returns the new cookie too.
async fn set_up(server: &Server) -> (Authenticator, String) {
    let cookie = server.send(sign_in("")).await.cookie().expect("a cookie");
    let page = server.send(get("/second-factor").cookie(&cookie)).await.text();
    assert!(page.contains("Set up a second factor") && !page.contains("name=\"code\""), "{page}");
    let start = form("/second-factor", &[("act", "start"), ("current_password", PASSWORD)]).cookie(&cookie);
    let page = server.send(start).await.text();
    let secret = between(&page, "<code class=\"secret\">", "</code>").replace(' ', "");
    let enrolment = between(&page, "name=\"enrolment\" value=\"", "\"").to_owned();
    let confirm = |code: &str| {
        let fields = [("act", "confirm"), ("enrolment", enrolment.as_str()), ("code", code)];
        form("/second-factor", &fields).cookie(&cookie)
    };
    let wrong = server.send(confirm("12345")).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("role=\"alert\"") && !wrong.text().contains(&secret), "{}", wrong.text());
    let confirmed = server.send(confirm(&code(&secret, server.now()))).await;
    let page = confirmed.text();
    assert_eq!(confirmed.status, 200, "{page}");
    assert!(page.contains("The second factor is on."), "{page}");
    let codes = between(&page, "<ul class=\"codes\">", "</ul>");
    let recovery: Vec<_> = codes.split("<code>").skip(1).map(|code| between(code, "", "</code>").to_owned()).collect();
    assert_eq!(recovery.len(), 10, "{page}");
    server.advance(STEP);
    (Authenticator { secret, recovery }, confirmed.cookie().expect("a new cookie"))
}

#[on_both_stores]
async fn a_person_sets_it_up_signs_in_with_it_and_switches_it_off(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, mine) = set_up(&server).await;
    let page = server.send(get("/second-factor").cookie(&mine)).await.text();
    assert!(page.contains("10 recovery codes are left.") && !page.contains(&authenticator.secret), "{page}");
    assert!(server.send(get("/sessions").cookie(&mine)).await.text().contains("href=\"/second-factor\""));

    let first = server.send(sign_in("/reports").cookie(&mine)).await;
    assert_eq!(to(&first), (303, Some("/login/code?return_to=%2Freports")));
    let pending = waiting(&first);
    assert_eq!(server.check(&mine).await, 200, "the session whose cookie came lives on");
    let asked = get("/login/code?return_to=%2Freports").header("Cookie", &format!("_me_sess_code={pending}"));
    let page = server.send(asked).await.text();
    assert!(page.contains("autocomplete=\"one-time-code\"") && page.contains("value=\"/reports\""), "{page}");
    let wrong = server.send(with_code(&pending, "12 34 5")).await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("not right") && wrong.all("set-cookie").is_empty(), "{}", wrong.text());
    assert_eq!(server.send(with_code(&pending, " ")).await.status, 422);
    let shown = authenticator.code(server.now());
    let second = server.send(with_code(&pending, &format!("{} {}", &shown[..3], &shown[3..]))).await;
    assert_eq!(to(&second), (303, Some("/reports")));
    let token = second.cookie().expect("a session");
    assert!(second.all("set-cookie").iter().any(|line| line.starts_with("_me_sess_code=;")));
    assert!(second.all("set-cookie")[1].contains("Max-Age=2592000"), "remembered, as was asked for in the first step");
    assert_eq!(server.check(&token).await, 200);
    server.advance(STEP);
    let again = server.send(with_code(&pending, &authenticator.code(server.now()))).await;
    assert_eq!(to(&again), (303, Some("/login?return_to=%2Freports")), "a login that waited is good once");
    assert!(again.cookie().is_none());

    let act = |act: &str, code: &str| {
        form("/second-factor", &[("act", act), ("current_password", PASSWORD), ("code", code)]).cookie(&token)
    };
    assert_eq!(server.send(act("codes", "000")).await.status, 401);
    let renewed = server.send(act("codes", &authenticator.recovery[0])).await.text();
    assert!(renewed.contains("<ul class=\"codes\">") && !renewed.contains(&authenticator.recovery[1]), "{renewed}");
    let removed = server.send(act("remove", &authenticator.code(server.now()))).await;
    assert_eq!(to(&removed), (303, Some("/sessions?second_factor_removed=1&ended=1")));
    let token = removed.cookie().expect("a new cookie");
    let page = server.send(get("/sessions?second_factor_removed=1&ended=1").cookie(&token)).await.text();
    assert!(page.contains("The second factor is off. One session was signed out."), "{page}");
    assert_eq!(to(&server.send(sign_in("")).await), (303, Some("/sessions")));
    server.stop().await;
}

#[on_both_stores]
async fn a_login_in_two_steps_resets_what_went_wrong_before_it(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, _) = set_up(&server).await;
    let counters = "SELECT count(*) FROM throttles";
    // In a browser that is not known, and then in the same one.
    let mut known = String::new();
    for code in &authenticator.recovery[..2] {
        for name in [BOB, BOB_EMAIL, BOB, BOB_EMAIL] {
            let mistyped = form("/login", &[("username", name), ("password", "not the password")]);
            assert_eq!(server.send(mistyped.header("Cookie", &known)).await.status, 401);
        }
        let pending = waiting(&server.send(sign_in("").header("Cookie", &known)).await);
        assert_ne!(server.database.number(counters).await, 0, "a right password alone resets nothing");
        let cookies = format!("_me_sess_code={pending}; {known}");
        let done = server.send(form("/login/code", &[("code", code)]).header("Cookie", &cookies)).await;
        assert_eq!(to(&done), (303, Some("/sessions?recovery_code_used=1")));
        assert_eq!(server.database.number(counters).await, 0, "{known}");
        known = format!("_me_sess_known={}", done.known_browser().expect("a cookie"));
    }
    server.stop().await;
}

#[on_both_stores]
async fn one_who_signs_in_with_a_recovery_code_is_told_how_many_are_left(store: StoreKind) {
    const TOLD: &str = "/sessions?recovery_code_used=1";
    let server = Server::start(store).await;
    let (authenticator, _) = set_up(&server).await;
    let signed_in = async |code: &str, return_to: &str| {
        let pending = waiting(&server.send(sign_in("")).await);
        let code = form("/login/code", &[("code", code), ("return_to", return_to)]);
        server.send(code.header("Cookie", &format!("_me_sess_code={pending}"))).await
    };
    let [first, second, third, ..] = &authenticator.recovery[..] else { panic!("too few") };
    for (code, return_to, wanted) in
        [(first, "", TOLD), (second, "/sessions", TOLD), (third, "/sessions?ask=all", "/sessions?ask=all")]
    {
        assert_eq!(to(&signed_in(code, return_to).await), (303, Some(wanted)), "{return_to}");
    }
    let done = signed_in(&authenticator.code(server.now()), "").await;
    assert_eq!(to(&done), (303, Some("/sessions")), "no recovery code was used");
    let cookie = done.cookie().expect("a session");
    let page = server.send(get(TOLD).cookie(&cookie)).await.text();
    let notice = between(&page, "<p class=\"notice\" role=\"status\">", "</p>");
    assert!(notice.starts_with("You signed in with a recovery code"), "{notice}");
    assert!(notice.contains("7 recovery codes are left. <a href=\"/second-factor\">"), "{notice}");
    assert!(!server.send(get("/sessions").cookie(&cookie)).await.text().contains("class=\"notice\""));
    let alice = server.log_in(ALICE).await.token;
    let page = server.send(get(TOLD).cookie(&alice)).await.text();
    assert!(!page.contains("class=\"notice\""), "one without a second factor has none left: {page}");
    server.stop().await;
}

#[on_both_stores]
async fn a_code_needs_no_place_among_the_passwords(store: StoreKind) {
    let server = Server::with(store, "password_workers = 1\npassword_queue = 1").await;
    set_up(&server).await;
    let pending = waiting(&server.send(sign_in("")).await);
    let login = post("/api/v1/auth/login").json(&serde_json::json!({"username": ALICE, "password": PASSWORD}));
    let asks = std::array::from_fn::<_, 16, _>(|n| if n < 12 { login.clone() } else { with_code(&pending, "1") });
    let mut full = false;
    while !full {
        let replies = send_all(&server, asks.clone()).await;
        let (logins, codes) = replies.split_at(12);
        full = logins.iter().any(|reply| reply.status == 503);
        let of_codes: Vec<_> = codes.iter().map(|reply| reply.status).collect();
        assert!(of_codes.iter().all(|status| [401, 429].contains(status)), "{of_codes:?}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_login_waits_five_minutes_and_for_the_browser_it_began_in(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, mine) = set_up(&server).await;
    for (cookie, why) in
        [("", "no cookie"), ("_me_sess_code=junk", "junk"), (&format!("_me_sess_code={mine}"), "a session's")]
    {
        let asked = server.send(get("/login/code").header("Cookie", cookie)).await;
        assert_eq!(to(&asked), (303, Some("/login")), "{why}");
        let ask = form("/login/code", &[("code", &authenticator.recovery[0])]).header("Cookie", cookie);
        let refused = server.send(ask).await;
        assert_eq!((to(&refused), refused.cookie()), ((303, Some("/login")), None), "{why}");
    }
    let pending = waiting(&server.send(sign_in("")).await);
    assert_eq!(server.check(&pending).await, 401, "it is no session");
    server.advance(Duration::from_secs(299));
    assert_eq!(server.send(with_code(&pending, "1")).await.status, 401);
    server.advance(Duration::from_secs(1));
    assert_eq!(to(&server.send(with_code(&pending, &authenticator.recovery[0])).await).0, 303);
    assert_eq!(server.send(with_code(&pending, &authenticator.recovery[0])).await.cookie(), None, "over");

    let pending = waiting(&server.send(sign_in("")).await);
    server.disable(BOB).await;
    let disabled = server.send(with_code(&pending, &authenticator.recovery[0])).await;
    assert_eq!((disabled.status, disabled.cookie()), (303, None));
    server.stop().await;
}

#[needs(postgres)]
#[tokio::test]
async fn of_codes_sent_at_once_to_two_replicas_one_completes_the_login_that_waits() {
    let home = Home::new(StoreKind::Postgres);
    let one = home.serve().await;
    let beside = home_at(&home.database.url());
    let two = beside.serve().await;
    let (authenticator, _) = one.set_up(&one.log_in(ALICE).await.token).await;
    let begin = async |server: &Process| {
        let first = server.send(form("/login", &[("username", ALICE), ("password", PASSWORD)])).await;
        let lines = first.all("set-cookie");
        let value = lines.iter().find_map(|line| line.strip_prefix("_me_sess_code=")?.split(';').next());
        value.expect("a login that waits").to_owned()
    };
    // A login and the code that it is to be completed with, each on the replica that it is sent to.
    let complete = async |tries: &[(&str, &str)]| {
        home.database.execute("DELETE FROM throttles").await;
        let servers = [&one, &two].into_iter().cycle();
        let sent = tries.iter().zip(servers).map(|((waiting, code), server)| server.send(with_code(waiting, code)));
        join_all(sent).await
    };
    let begun = |replies: &[Reply]| replies.iter().filter(|reply| reply.cookie().is_some()).count();

    let waiting = begin(&one).await;
    let each = authenticator.recovery[..4].iter().map(|code| (waiting.as_str(), code.as_str()));
    let replies = complete(&each.collect::<Vec<_>>()).await;
    assert_eq!(begun(&replies), 1);
    let over = replies.iter().filter(|reply| reply.cookie().is_none());
    over.for_each(|reply| assert_eq!(reply.status, 303, "{}", reply.text()));
    assert_eq!(home.database.number("SELECT count(*) FROM recovery_codes").await, 9, "the other codes are good still");

    let next = authenticator.next();
    let (mine, another) = (begin(&one).await, begin(&two).await);
    let replies = complete(&[(mine.as_str(), next.as_str()), (another.as_str(), next.as_str())]).await;
    assert_eq!(begun(&replies), 1);
    assert!(replies.iter().any(|reply| reply.status == 401), "the other login goes on waiting");
    assert_eq!(home.database.number("SELECT count(*) FROM pending_logins").await, 1);
}

#[on_both_stores]
async fn a_one_time_password_is_changed_with_a_code_in_one_form(store: StoreKind) {
    let server = Server::start(store).await;
    let (authenticator, _) = set_up(&server).await;
    let alice = server.log_in(ALICE).await;
    let bob = server.database.rows("SELECT id FROM users WHERE username = 'bob'").await.remove(0).remove(0);
    let path = format!("/admin/users/{}/password", bob.expect("an id"));
    let page = server.send(form(&path, &[]).cookie(&alice.token)).await.text();
    let one_time = between(&page, "<p class=\"secret\"><code>", "</code>").to_owned();
    let login =
        |more: &[(&str, &str)]| form("/login", &[&[("username", BOB), ("password", one_time.as_str())], more].concat());
    let asked = server.send(login(&[])).await;
    let page = asked.text();
    assert_eq!((asked.status, asked.all("set-cookie").len()), (401, 0), "{page}");
    assert!(page.contains("Enter it again together with a code of your second factor"), "{page}");
    let new = ("new_password", "another-horse-battery");
    let refused = server.send(login(&[new, ("code", "no code")])).await;
    assert_eq!((refused.status, refused.cookie()), (401, None));
    for page in [page, refused.text()] {
        assert!(page.contains("name=\"new_password\"") && page.contains("name=\"code\""), "{page}");
    }
    server.forget_failures().await;
    let code = authenticator.code(server.now());
    assert!(server.send(login(&[new, ("code", &code)])).await.cookie().is_some());
    server.stop().await;
}

#[on_both_stores]
async fn the_pages_refuse_what_the_service_refuses_in_words(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await.token;
    assert_eq!(to(&server.send(get("/second-factor")).await), (303, Some("/login?return_to=%2Fsecond-factor")));
    let ask = |pairs: &[(&str, &str)]| form("/second-factor", pairs).cookie(&alice);
    for (pairs, status, words) in [
        (&[("act", "start"), ("current_password", "wrong")][..], 401, "current password is not right"),
        (&[("act", "start")], 401, "current password is not right"),
        (&[("act", "confirm"), ("enrolment", "x"), ("code", "123456")], 409, "Start again"),
        (&[("act", "odd")], 422, ""),
        (&[("act", "remove"), ("current_password", PASSWORD), ("code", "123456")], 404, "Set up a second factor"),
        (&[("act", "codes"), ("current_password", PASSWORD), ("code", "1")], 404, "was switched off in the meantime"),
    ] {
        let refused = server.send(ask(pairs).header("Accept", "text/html")).await;
        assert_eq!(refused.status, status, "{pairs:?}: {}", refused.text());
        assert!(refused.text().contains(words), "{pairs:?}: {}", refused.text());
    }
    let german = server.send(get("/second-factor").cookie(&alice).header("Accept-Language", "de")).await.text();
    assert!(german.contains("Zweiter Faktor") && german.contains("Zweiten Faktor einrichten"), "{german}");
    server.stop().await;
}

#[on_both_stores]
async fn a_wrong_code_is_on_record_with_who_entered_it(store: StoreKind) {
    let server = Server::start(store).await;
    let (_, mine) = set_up(&server).await;
    let remove = [("act", "remove"), ("current_password", PASSWORD), ("code", "no code")];
    assert_eq!(server.send(form("/second-factor", &remove).cookie(&mine)).await.status, 401);
    server.forget_failures().await;
    let body = serde_json::json!({"current_password": PASSWORD, "code": "no code"});
    let renewal = post("/api/v1/auth/second-factor/recovery-codes").bearer(&mine).json(&body);
    assert_eq!(server.send(renewal).await.status, 401);
    server.forget_failures().await;
    let pending = waiting(&server.send(sign_in("")).await);
    assert_eq!(server.send(with_code(&pending, "no code")).await.status, 401);

    let bob = server.database.rows("SELECT id FROM users WHERE username = 'bob'").await.remove(0);
    let session = server.database.rows("SELECT session_id FROM events WHERE kind = 'login_ok'").await.remove(0);
    let events = "SELECT actor, user_id, session_id, request_id, ip, detail FROM events WHERE kind = 'login_failed'
         ORDER BY number";
    let events = server.database.rows(events).await;
    assert_eq!(events.len(), 4, "{events:?}");
    for (number, event) in events.iter().enumerate() {
        let [actor, user, in_session, request, ip, detail] = &event[..] else { panic!("{event:?}") };
        let (by, at) = if number < 3 { (&bob[0], &session[0]) } else { (&Some(String::from("anonymous")), &None) };
        assert_eq!((actor, user, in_session), (by, &bob[0], at), "{number}");
        assert!(request.is_some() && ip.is_some() && detail.as_deref() == Some("code"), "{event:?}");
    }
    server.stop().await;
}

#[needs(zbarimg)]
#[tokio::test]
async fn the_code_on_the_page_is_the_uri_of_the_secret_beside_it() {
    let server = Server::with(StoreKind::Sqlite, "brand_name = 'Zoë: a&b?#%'").await;
    let cookie = server.send(sign_in("")).await.cookie().expect("a cookie");
    let start = form("/second-factor", &[("act", "start"), ("current_password", PASSWORD)]).cookie(&cookie);
    let shown = server.send(start).await;
    assert!(shown.header("content-security-policy").is_some_and(|policy| policy.contains("img-src 'self'")));
    let page = shown.text();
    let secret = between(&page, "<code class=\"secret\">", "</code>").replace(' ', "");
    let size: usize = between(&page, "viewBox=\"0 0 ", " ").parse().expect("a number");
    let path = between(&page, "<path d=\"", "\"");
    // Drawn here by its own rules: runs of dark modules, four dots each.
    let mut dark = vec![false; size * size];
    for run in path.split('z').filter(|run| !run.is_empty()) {
        let numbers: Vec<usize> = run.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
        dark[numbers[1] * size + numbers[0]..][..numbers[2]].fill(true);
    }
    let mut bitmap = format!("P1 {0} {0}\n", size * 4);
    for y in 0..size * 4 {
        bitmap.extend((0..size * 4).map(|x| if dark[y / 4 * size + x / 4] { '1' } else { '0' }));
        bitmap.push('\n');
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("code.pbm");
    std::fs::write(&file, bitmap).expect("written");
    let read = std::process::Command::new("zbarimg").args(["--quiet", "--raw"]).arg(&file).output().expect("it runs");
    let label = "Zo%C3%AB%20a%26b%3F%23%25";
    let wanted = format!("otpauth://totp/{label}:bob?secret={secret}&issuer={label}&algorithm=SHA1&digits=6&period=30");
    assert_eq!(String::from_utf8(read.stdout).expect("text").trim(), wanted);
    server.stop().await;
}
