//! The pages of administrators: who gets in, and what asks for the password once more.

use std::time::Duration;

use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use super::{form, to};
use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, Reply, Server, StoreKind, TestRequest, get, post};

mod events;
mod sessions;
mod users;

const USERS: &str = "/admin/users";
const NEW: &str = "/admin/users/new";
const MINUTE: Duration = Duration::from_mins(1);

/// The page of a user, or of an act about them.
fn page_of(user: &str, act: &str) -> String {
    if act.is_empty() { format!("{USERS}/{user}") } else { format!("{USERS}/{user}/{act}") }
}

/// A page as text; panics unless it is there.
async fn read(server: &Server, who: &LoggedIn, path: &str) -> String {
    let reply = server.send(get(path).cookie(&who.token)).await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.text()
}

/// What the box above a form says.
fn alert(reply: &Reply) -> String {
    let text = reply.text();
    let (_, rest) = text.split_once("role=\"alert\"").unwrap_or_else(|| panic!("no alert: {text}"));
    let (_, rest) = rest.split_once("<span>").expect("a sentence");
    rest.split("</span>").next().expect("its end").to_owned()
}

/// The targets of all links of a page that begin so.
fn links(page: &str, begin: &str) -> Vec<String> {
    let attributes = page.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    attributes.map(|to| to.replace("&#38;", "&")).filter(|to| to.starts_with(begin)).collect()
}

/// Makes a user with the usual password; returns the id.
async fn add(server: &Server, admin: &LoggedIn, username: &str) -> String {
    let made = form(NEW, &[("username", username), ("password", PASSWORD)]).cookie(&admin.token);
    let reply = server.send(made).await;
    let (303, Some(page)) = to(&reply) else { panic!("{}", reply.text()) };
    let id = page.strip_prefix("/admin/users/").and_then(|rest| rest.strip_suffix("?done=created"));
    id.expect("the page of the user").to_owned()
}

/// Every page, and every form with what it takes.
fn every_route(user: &str) -> Vec<TestRequest> {
    let mut all: Vec<_> = [
        "/admin",
        USERS,
        NEW,
        "/admin/sessions",
        "/admin/sessions/revoke?all=true",
        "/admin/events?user=bob&kind=logout",
    ]
    .map(get)
    .into();
    all.push(get(&page_of(user, "")));
    all.push(form(NEW, &[("username", "new")]));
    all.push(form(&page_of(user, ""), &[("username", "new"), ("name", "New")]));
    for act in ["password", "sign-out", "disable", "enable", "unlock", "second-factor", "delete"] {
        all.extend([get(&page_of(user, act)), form(&page_of(user, act), &[])]);
    }
    all.push(form("/admin/sessions", &[("revoke", user)]));
    all.push(form("/admin/sessions/revoke?all=true", &[("expect", "9")]));
    all
}

#[on_both_stores]
async fn to_others_there_is_nothing_here(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let mut asked = 0;
    for request in every_route(&alice.user) {
        asked += 1;
        let name = format!("{} {}", request.method, request.target);
        let back: String = form_urlencoded::byte_serialize(request.target.as_bytes()).collect();
        let reply = server.send(request.clone()).await;
        assert_eq!(to(&reply), (303, Some(&*format!("/login?return_to={back}"))), "{name}");
        let reply = server.send(request.cookie(&bob.token)).await;
        assert_eq!(reply.status, 404, "{name}");
        assert!(reply.text().contains("There is nothing here"), "{name}: {}", reply.text());
    }
    assert_eq!(server.check(&alice.token).await, 200, "nothing was done");
    server.advance(MINUTE);
    let refused = "SELECT CAST(coalesce(sum(count), 0) AS bigint) FROM events WHERE kind = 'act_refused'";
    until("each is on record", async || server.database.number(refused).await == asked).await;
    assert!(!read(&server, &bob, "/sessions").await.contains("/admin"));
    assert_eq!(links(&read(&server, &alice, "/sessions").await, "/admin"), [USERS]);
    assert_eq!(to(&server.send(get("/admin").cookie(&alice.token)).await), (303, Some(USERS)));
    for nothing in
        ["/admin/users/nobody", "/admin/users/nobody/delete", &page_of(&bob.user, "promote"), "/admin/users/%ff"]
    {
        assert_eq!(server.send(get(nothing).cookie(&alice.token)).await.status, 404, "{nothing}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_gives_power_away_asks_for_the_password_and_leads_back(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    server.advance(15 * MINUTE);
    let profile = page_of(&bob.user, "");
    let edit =
        form(&profile, &[("username", "robert"), ("email", "r@example.com"), ("name", "Bob"), ("admin", "true")]);
    let new = form(NEW, &[("username", "carol"), ("name", "Carol & Co"), ("password", PASSWORD), ("admin", "true")]);
    let everybody = form("/admin/sessions/revoke?all=true", &[("expect", "9")]);
    for (request, back) in [
        (edit, format!("{profile}?username=robert&email=r%40example.com&name=Bob")),
        (new, format!("{NEW}?username=carol&name=Carol+%26+Co")),
        (form(&page_of(&bob.user, "password"), &[]), page_of(&bob.user, "password")),
        (form(&page_of(&bob.user, "enable"), &[]), page_of(&bob.user, "enable")),
        (form(&page_of(&bob.user, "delete"), &[]), page_of(&bob.user, "delete")),
    ] {
        let reply = server.send(request.cookie(&alice.token)).await;
        assert_eq!(reply.status, 403, "{back}");
        let page = reply.text();
        assert!(page.contains("Enter your password again") && !page.contains(PASSWORD), "{page}");
        let query: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
        assert_eq!(links(&page, "/login"), [format!("/login?again=1&return_to={query}")]);
    }
    // What takes power away does not wait.
    assert_eq!(server.send(form(&page_of(&bob.user, "disable"), &[]).cookie(&alice.token)).await.status, 303);
    assert_eq!(server.send(everybody.cookie(&alice.token)).await.status, 303);

    let back = format!("{profile}?username=robert&name=Bob&admin=true");
    let query: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
    let login = read(&server, &alice, &format!("/login?again=1&return_to={query}")).await;
    assert!(login.contains("value=\"alice\"") && login.contains("too long ago for this"), "{login}");
    let given =
        form("/login", &[("username", ALICE), ("password", PASSWORD), ("return_to", &back)]).cookie(&alice.token);
    let reply = server.send(given).await;
    assert_eq!(to(&reply), (303, Some(&*back)));
    assert_eq!(server.check(&alice.token).await, 401, "the new session takes the place of the old one");
    let alice = LoggedIn { token: reply.cookie().expect("a cookie"), ..alice };
    let filled = read(&server, &alice, &back).await;
    assert!(filled.contains("value=\"robert\"") && filled.contains("has not been saved yet"), "{filled}");
    assert!(!filled.contains("checked"), "a link makes nobody an administrator");
    let enabled = server.send(form(&page_of(&bob.user, "enable"), &[]).cookie(&alice.token)).await;
    assert_eq!(to(&enabled), (303, Some(&*format!("{profile}?done=enabled"))));
    server.stop().await;
}

#[on_both_stores]
async fn the_way_by_the_password_leads_to_no_other_origin(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    for raw in ["https://evil.example/", "//evil.example/x", "/\\evil.example", "javascript:alert(1)"] {
        let query: String = form_urlencoded::byte_serialize(raw.as_bytes()).collect();
        let shown = read(&server, &alice, &format!("/login?again=1&return_to={query}")).await;
        assert!(shown.contains("name=\"password\""), "the form, though there is a session: {shown}");
        assert!(links(&shown, "http").is_empty() && links(&shown, "//evil").is_empty(), "{shown}");
        let signed_in =
            server.send(form("/login", &[("username", BOB), ("password", PASSWORD), ("return_to", raw)])).await;
        assert_eq!(to(&signed_in), (303, Some("/sessions")), "{raw}");
    }
    let stranger = server.send(get("/login?again=1")).await.text();
    assert!(stranger.contains("value=\"\"") && !stranger.contains("too long ago"), "{stranger}");
    server.stop().await;
}

#[on_both_stores]
async fn forms_and_links_of_before_a_restart_work_after_it(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let first = read(&server, &alice, "/admin/users?limit=1").await;
    let next = links(&first, "/admin/users?limit=1&");
    let server = server.restart("").await;
    let second = read(&server, &alice, &next[0]).await;
    for name in [">alice</a>", ">bob</a>"] {
        assert!(first.contains(name) != second.contains(name), "{name} is on one of both pages");
    }
    let disabled = server.send(form(&page_of(&bob.user, "disable"), &[]).cookie(&alice.token)).await;
    assert_eq!((disabled.status, server.check(&bob.token).await), (303, 401));
    server.stop().await;
}

#[on_both_stores]
async fn a_form_of_another_type_is_refused_and_changes_nothing(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    for path in [NEW, "/admin/sessions", "/admin/sessions/revoke?all=true"] {
        let json = post(path).json(&serde_json::json!({"username": "new", "revoke": alice.session, "expect": 9}));
        assert_eq!(server.send(json.cookie(&alice.token)).await.status, 415, "{path}");
    }
    assert_eq!(server.check(&alice.token).await, 200);
    server.stop().await;
}
