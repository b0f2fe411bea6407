//! The audit: its filters, its pages, and what clients chose.

use sessiond_needs::on_both_stores;

use super::{MINUTE, add, alert, links, page_of, read};
use crate::harness::{ALICE, BOB, PASSWORD, Server, StoreKind, get};
use crate::wire::pages::form;

const LIST: &str = "/admin/events";

/// What happened, by the rows of a page.
fn happened(page: &str) -> Vec<String> {
    let cells = page.split("data-label=\"What\"><span>").skip(1);
    cells.filter_map(|rest| rest.split('<').next()).map(|what| what.trim().to_owned()).collect()
}

#[on_both_stores]
async fn the_audit_is_filtered_and_shown_page_by_page(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    server.advance(10 * MINUTE);
    let carol = add(&server, &alice, "carol").await;
    server.send(form(&page_of(&carol, "disable"), &[]).cookie(&alice.token)).await;
    server.send(form("/login", &[("username", BOB), ("password", "wrong")])).await;
    let at = |query: &str| format!("{LIST}?{query}");
    let all = read(&server, &alice, LIST).await;
    let before = ["Signed in", "User created", "Made an administrator", "User created"];
    let newest = [&["Sign-in refused", "User disabled", "User created"], &before[..]].concat();
    assert_eq!(happened(&all), newest, "{all}");
    assert!(all.contains("Operator"), "who made Alice and Bob: {all}");
    for (query, wanted) in [
        ("user=carol", &["User disabled", "User created"][..]),
        ("user=bob&kind=login_failed", &["Sign-in refused"]),
        ("kind=login_ok", &["Signed in"]),
        ("kind=unheard_of", &[]),
        ("since=2026-01-02T03%3A10", &newest[..3]),
        ("until=2026-01-02T03%3A10", &newest[3..]),
        ("since=2026-01-02T03%3A10&until=2026-01-02T03%3A11", &[]),
        ("user=&kind=&since=&until=", &newest),
    ] {
        let page = read(&server, &alice, &at(query)).await;
        assert_eq!(happened(&page), wanted, "{query}");
        assert_eq!(page.contains("No event matches."), wanted.is_empty(), "{query}");
    }
    let about = read(&server, &alice, &at("user=carol")).await;
    assert_eq!(links(&about, "/admin/users/"), [page_of(&carol, "")]);
    let next =
        links(&read(&server, &alice, &at("user=carol&limit=1")).await, "/admin/events?user=carol&limit=1&cursor=");
    assert_eq!(happened(&read(&server, &alice, &next[0]).await), ["User created"]);
    for (query, status, words) in
        [("since=yesterday", 422, "The time must be"), ("user=nobody", 200, "There is no such user.")]
    {
        let reply = server.send(get(&at(query)).cookie(&alice.token)).await;
        assert_eq!((reply.status, alert(&reply).contains(words)), (status, true), "{query}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_was_wrong_is_said_in_the_language_of_the_reader(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let change = form("/password", &[("current_password", "wrong"), ("new_password", "another-horse-battery")]);
    assert_eq!(server.send(change.cookie(&alice.token)).await.status, 401);
    let code = add(&server, &alice, "code").await;
    let renamed = form(&page_of(&code, ""), &[("username", "other"), ("name", "code")]).cookie(&alice.token);
    assert_eq!(server.send(renamed).await.status, 303);
    let (_, token) = server.set_up(&alice.token).await;
    let remove = [("act", "remove"), ("current_password", PASSWORD), ("code", "no code")];
    assert_eq!(server.send(form("/second-factor", &remove).cookie(&token)).await.status, 401);
    let details = async |kind: &str, language: &str| {
        let asked = get(&format!("{LIST}?kind={kind}")).cookie(&token).header("Accept-Language", language);
        let page = server.send(asked).await.text();
        let hints = page.split("<span class=\"hint\">").skip(1).filter_map(|rest| rest.split("</span>").next());
        hints.filter(|hint| !hint.contains("<code>")).map(str::to_owned).collect::<Vec<_>>()
    };
    for (language, wanted) in
        [("en", ["Wrong code", "Wrong current password"]), ("de", ["Falscher Code", "Falsches bisheriges Passwort"])]
    {
        assert_eq!(details("login_failed", language).await, wanted);
        assert_eq!(details("user_renamed", language).await, ["code"], "a name is shown as it was");
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_a_client_chose_is_text_in_which_everything_can_be_seen(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let hostile = "<script>alert(1)</script> \u{202e}\u{200b}\u{2028} %0d%0a";
    let wrong = form("/login", &[("username", BOB), ("password", "wrong")]).header("User-Agent", hostile);
    assert_eq!(server.send(wrong).await.status, 401);
    let page = read(&server, &alice, LIST).await;
    let shown = r"&#60;script&#62;alert(1)&#60;/script&#62; \u{202e}\u{200b}\u{2028} %0d%0a";
    assert!(page.contains(shown), "{page}");
    assert!(!page.contains(['\u{202e}', '\u{200b}', '\u{2028}']) && !page.contains("<script"), "{page}");
    server.stop().await;
}

#[on_both_stores]
async fn a_user_who_was_deleted_stays_in_the_audit(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let carol = add(&server, &alice, "carol").await;
    server.log_in_with("carol", PASSWORD).await;
    server.send(form(&page_of(&carol, "delete"), &[]).cookie(&alice.token)).await;
    let page = read(&server, &alice, &format!("{LIST}?user={carol}")).await;
    let mut happened = happened(&page);
    // What one transaction has written has no order.
    happened.sort();
    assert_eq!(happened, ["Session ended", "Signed in", "User created", "User deleted"], "{page}");
    assert!(links(&page, "/admin/users/").is_empty(), "there is no page to go to: {page}");
    server.stop().await;
}
