//! The sessions of all users: filtering them, and ending one, those that match, or everybody's.

use sessiond_needs::on_both_stores;

use super::{MINUTE, add, alert, links, page_of, read};
use crate::harness::{ALICE, BOB, LoggedIn, PASSWORD, Server, StoreKind, get, post};
use crate::wire::pages::{form, to};

const LIST: &str = "/admin/sessions";

async fn log_in_as(server: &Server, username: &str, user_agent: &str) -> LoggedIn {
    let body = serde_json::json!({"username": username, "password": PASSWORD, "transport": "token"});
    let reply = server.send(post("/api/v1/auth/login").json(&body).header("User-Agent", user_agent)).await.json();
    let text = |pointer: &str| reply.pointer(pointer).and_then(|value| value.as_str()).expect(pointer).to_owned();
    LoggedIn { token: text("/token"), session: text("/session/id"), user: text("/user/id") }
}

/// How many sessions a page lists.
fn listed(page: &str) -> usize {
    page.matches("<td role=\"cell\" class=\"act\">").count()
}

#[on_both_stores]
async fn sessions_are_filtered_and_ended_one_by_one(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let phone = log_in_as(&server, BOB, "acme-phone/1.0").await;
    server.advance(10 * MINUTE);
    let desk = log_in_as(&server, BOB, "acme-desk/2.0 \u{202e}").await;
    let all = read(&server, &alice, LIST).await;
    assert_eq!(listed(&all), 3);
    assert!(all.contains("\\u{202e}") && !all.contains('\u{202e}'), "{all}");
    assert!(all.contains("aria-label=\"Sign out: bob, acme-phone\""), "{all}");
    for (query, count) in [
        ("user=bob", 2),
        ("user=bob%40example.com&user_agent=PHONE", 1),
        ("ip=127.0.0.0%2F8", 3),
        ("ip=192.0.2.1", 0),
        ("before=2026-01-02T03%3A10", 2),
        ("user=&ip=&user_agent=&before=", 3),
        ("user=alice&user_agent=acme", 0),
    ] {
        let page = read(&server, &alice, &format!("{LIST}?{query}")).await;
        assert_eq!(listed(&page), count, "{query}");
        assert_eq!(page.contains("No session matches."), count == 0, "{query}");
    }
    let ended =
        server.send(form(&format!("{LIST}?user=bob"), &[("revoke", &phone.session)]).cookie(&alice.token)).await;
    assert_eq!(to(&ended), (303, Some("/admin/sessions?user=bob&ended=1")));
    assert_eq!((server.check(&phone.token).await, server.check(&desk.token).await), (401, 200));
    assert!(read(&server, &alice, "/admin/sessions?user=bob&ended=1").await.contains("One session was signed out."));
    let again = server.send(form(LIST, &[("revoke", &phone.session)]).cookie(&alice.token)).await;
    assert_eq!(to(&again), (303, Some("/admin/sessions?ended=0")), "it has ended meanwhile, as was wanted");

    let page = page_of(&desk.user, "");
    assert!(read(&server, &alice, &page).await.contains(&format!("value=\"{}\"", desk.session)));
    let ended = server.send(form(&page, &[("revoke", &desk.session)]).cookie(&alice.token)).await;
    assert_eq!((to(&ended), server.check(&desk.token).await), ((303, Some(&*format!("{page}?ended=1"))), 401));
    let own = server.send(form(LIST, &[("revoke", &alice.session)]).cookie(&alice.token)).await;
    assert_eq!(to(&own), (303, Some("/login?signed_out=1")), "as signing out does");
    assert!(own.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    assert_eq!(server.check(&alice.token).await, 401);
    server.stop().await;
}

#[on_both_stores]
async fn pages_lead_on_with_the_filter(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    for _ in 0..3 {
        server.log_in(BOB).await;
    }
    let first = read(&server, &alice, "/admin/sessions?user=bob&limit=2").await;
    let next = links(&first, "/admin/sessions?user=bob&limit=2&cursor=");
    assert_eq!((listed(&first), next.len()), (2, 1), "{first}");
    let second = read(&server, &alice, &next[0]).await;
    assert_eq!(listed(&second), 1);
    assert_eq!(links(&second, "/admin/sessions?user=bob&limit=2"), ["/admin/sessions?user=bob&limit=2"], "the first");
    server.stop().await;
}

#[on_both_stores]
async fn all_that_match_are_counted_first_and_no_more_than_those_end(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let (first, second) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let filtered = read(&server, &alice, "/admin/sessions?user=bob").await;
    let path = "/admin/sessions/revoke?user=bob";
    assert_eq!(links(&filtered, "/admin/sessions/revoke"), [path]);
    let asked = read(&server, &alice, path).await;
    assert!(
        asked.contains("2 sessions will be signed out.") && asked.contains("name=\"expect\" value=\"2\""),
        "{asked}"
    );
    assert_eq!(server.check(&first.token).await, 200, "it was only counted");

    let third = server.log_in(BOB).await;
    let more = server.send(form(path, &[("expect", "2")]).cookie(&alice.token)).await;
    assert_eq!(more.status, 409);
    assert!(alert(&more).contains("More sessions match now"), "{}", alert(&more));
    assert!(more.text().contains("name=\"expect\" value=\"3\""), "{}", more.text());
    for login in [&first, &second, &third] {
        assert_eq!(server.check(&login.token).await, 200);
    }
    assert_eq!(
        server.send(form(path, &[]).cookie(&alice.token)).await.status,
        409,
        "without a number none is expected"
    );
    let ended = server.send(form(path, &[("expect", "3")]).cookie(&alice.token)).await;
    assert_eq!(to(&ended), (303, Some("/admin/sessions?user=bob&ended=3")));
    for (login, status) in [(&first, 401), (&second, 401), (&third, 401), (&alice, 200)] {
        assert_eq!(server.check(&login.token).await, status);
    }
    let nothing = read(&server, &alice, path).await;
    assert!(nothing.contains("No session but perhaps your own") && !nothing.contains("<button"), "{nothing}");
    server.stop().await;
}

#[on_both_stores]
async fn everybody_is_signed_out_but_the_one_who_asks(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let other = server.log_in(ALICE).await;
    add(&server, &alice, "carol").await;
    let (bob, carol) = (server.log_in(BOB).await, server.log_in("carol").await);
    let path = "/admin/sessions/revoke?all=true";
    assert_eq!(links(&read(&server, &alice, LIST).await, "/admin/sessions/revoke"), [path]);
    let asked = read(&server, &alice, path).await;
    assert!(asked.contains("3 sessions will be signed out: every one of every user"), "{asked}");
    // Neither an empty filter nor one beside `all` is everybody.
    for neither in
        ["/admin/sessions/revoke", "/admin/sessions/revoke?all=true&user=bob", "/admin/sessions/revoke?user=x"]
    {
        let to_list = server.send(form(neither, &[("expect", "9")]).cookie(&alice.token)).await;
        assert_eq!(to_list.status, 303, "{neither}");
        assert!(to_list.header("location").is_some_and(|to| !to.contains("ended")), "{neither}");
        assert_eq!(server.check(&bob.token).await, 200, "{neither}");
    }
    let ended = server.send(form(path, &[("expect", "3")]).cookie(&alice.token)).await;
    assert_eq!(to(&ended), (303, Some("/admin/sessions?ended=3")));
    for (login, status) in [(&other, 401), (&bob, 401), (&carol, 401), (&alice, 200)] {
        assert_eq!(server.check(&login.token).await, status);
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_filter_that_makes_no_sense_is_said_to(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let long = format!("user_agent={}", "x".repeat(513));
    for (query, status, words) in [
        ("ip=somewhere", 422, "must be one such as 192.0.2.7"),
        ("before=yesterday", 422, "The time must be one such as"),
        (long.as_str(), 422, "too long"),
        ("user=nobody", 200, "There is no such user."),
    ] {
        let reply = server.send(get(&format!("{LIST}?{query}")).cookie(&alice.token)).await;
        assert_eq!((reply.status, alert(&reply).contains(words)), (status, true), "{query}: {}", reply.text());
        assert_eq!(listed(&reply.text()), 0);
        assert!(links(&reply.text(), "/admin/sessions/revoke").is_empty(), "{query}");
    }
    server.stop().await;
}
