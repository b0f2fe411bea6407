//! Users: finding, making, changing, disabling and deleting them, and their one-time passwords.

use sessiond_needs::on_both_stores;

use super::{MINUTE, NEW, USERS, add, alert, links, page_of, read};
use crate::harness::{ALICE, BOB, BOB_EMAIL, PASSWORD, Reply, Server, StoreKind, get};
use crate::wire::pages::{form, to};

/// The one-time password on a page.
fn shown_password(reply: &Reply) -> String {
    let page = reply.text();
    assert_eq!((reply.status, reply.header("cache-control")), (200, Some("no-store")), "{page}");
    let (_, rest) = page.split_once("class=\"secret\"><code>").unwrap_or_else(|| panic!("no password: {page}"));
    rest.split('<').next().expect("its end").to_owned()
}

#[on_both_stores]
async fn a_user_is_made_changed_disabled_and_deleted(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let id = add(&server, &alice, "carol").await;
    let page = page_of(&id, "");
    let send = |path: &str, pairs: &[(&str, &str)]| server.send(form(path, pairs).cookie(&alice.token));
    assert!(read(&server, &alice, &format!("{page}?done=created")).await.contains("The user was created."));

    let edit = [("username", "Carol"), ("email", "carol@example.com"), ("name", "<b>Carol"), ("admin", "true")];
    assert_eq!(to(&send(&page, &edit).await), (303, Some(&*format!("{page}?done=saved"))));
    let shown = read(&server, &alice, &page).await;
    for wanted in
        ["value=\"Carol\"", "value=\"carol@example.com\"", "value=\"true\" aria-describedby=\"admin-hint\" checked"]
    {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert!(!shown.contains("<b>") && shown.contains("&#60;b&#62;Carol"), "{shown}");
    // Without its tick, and with an empty address.
    assert_eq!(send(&page, &[("username", "Carol"), ("email", ""), ("name", "Carol")]).await.status, 303);
    let shown = read(&server, &alice, &page).await;
    assert!(!shown.contains("checked") && !shown.contains("carol@example.com"), "{shown}");

    let carol = server.log_in("carol").await;
    for (act, done, check) in [("disable", "disabled", 401), ("enable", "enabled", 401)] {
        let path = page_of(&id, act);
        let asked = read(&server, &alice, &path).await;
        assert!(asked.contains("Carol will be"), "{asked}");
        let safe = asked.find(&format!("href=\"{page}\"")).expect("the safe way");
        assert!(safe < asked.find("<button").expect("a button"), "the safe way comes first");
        assert_eq!(to(&send(&path, &[]).await), (303, Some(&*format!("{page}?done={done}"))));
        assert_eq!(server.check(&carol.token).await, check, "{act}");
    }
    let carol = server.log_in("carol").await;
    assert_eq!(server.check(&carol.token).await, 200, "it was only asked");
    assert_eq!(to(&send(&page_of(&id, "sign-out"), &[]).await), (303, Some(&*format!("{page}?ended=1"))));
    assert_eq!(server.check(&carol.token).await, 401);
    assert!(read(&server, &alice, &page_of(&id, "delete")).await.contains("cannot be undone"));
    assert_eq!(to(&send(&page_of(&id, "delete"), &[]).await), (303, Some("/admin/users?done=deleted&ended=0")));
    assert_eq!(server.send(get(&page).cookie(&alice.token)).await.status, 404);
    assert_eq!(send(&page_of(&id, "delete"), &[]).await.status, 404, "deleted meanwhile");
    server.stop().await;
}

#[on_both_stores]
async fn every_hint_in_the_form_for_a_new_user_is_linked_to_its_field(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let wrong = form(NEW, &[("username", "a b"), ("password", PASSWORD)]).cookie(&alice.token);
    for page in [read(&server, &alice, NEW).await, server.send(wrong).await.text()] {
        for hint in ["name-hint", "password-hint", "admin-hint"] {
            let linked = page.contains(&format!("aria-describedby=\"{hint}"));
            assert!(page.contains(&format!("id=\"{hint}\"")) && linked, "{hint}: {page}");
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_one_time_password_is_shown_once_and_has_to_be_changed(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let path = page_of(&bob.user, "password");
    assert!(read(&server, &alice, &path).await.contains("The present password stops working"));
    assert_eq!(server.check(&bob.token).await, 200, "it was only asked");
    let reset = server.send(form(&path, &[]).cookie(&alice.token)).await;
    let one_time = shown_password(&reset);
    assert!(reset.text().contains("within 24 hours") && reset.text().contains("One session was signed out."));
    assert_eq!(server.check(&bob.token).await, 401);
    assert!(!read(&server, &alice, &page_of(&bob.user, "")).await.contains(&one_time));
    assert!(read(&server, &alice, USERS).await.contains("One-time password"), "the badge");

    let made = server.send(form(NEW, &[("username", "carol"), ("name", "Carol")]).cookie(&alice.token)).await;
    assert!(made.text().contains("Pass this on to Carol."), "{}", made.text());
    for (name, password) in [(BOB, one_time), ("carol", shown_password(&made))] {
        let login = [("username", name), ("password", &password)];
        let refused = server.send(form("/login", &login)).await;
        assert_eq!((refused.status, refused.cookie()), (403, None), "{name}");
        let new = [login[0], login[1], ("new_password", "a completely different one")];
        assert_eq!(server.send(form("/login", &new)).await.status, 303, "{name}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_cannot_be_done_is_said_above_the_form(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let (own, bobs) = (page_of(&alice.user, ""), page_of(&bob.user, ""));
    let (delete, disable, reset) =
        (page_of(&alice.user, "delete"), page_of(&alice.user, "disable"), page_of(&alice.user, "password"));
    let cases: [(&str, &[(&str, &str)], u16, &str, &str); 10] = [
        (NEW, &[("username", "ALICE")], 409, "Another user has this username.", "Ein anderer Benutzer hat diesen"),
        (NEW, &[("username", "x"), ("email", BOB_EMAIL)], 409, "Another user has this e-mail", "diese E-Mail-Adresse"),
        (NEW, &[("username", "a b")], 422, "The username must not contain spaces", "Der Benutzername darf keine Leer"),
        (
            NEW,
            &[("username", "x"), ("email", "y")],
            422,
            "The e-mail address must be of the form",
            "Die E-Mail-Adresse",
        ),
        (NEW, &[("username", "x"), ("password", "short")], 422, "at least 8 characters", "mindestens 8 Zeichen"),
        (&bobs, &[("username", "alice"), ("name", "Bob")], 409, "Another user has this username.", "diesen Benutzern"),
        (&bobs, &[("username", BOB), ("name", "")], 422, "The name must not be empty.", "Der Name darf nicht leer"),
        (&own, &[("username", ALICE), ("name", ALICE)], 409, "to your own account", "mit dem eigenen Konto"),
        (&delete, &[], 409, "to your own account", "mit dem eigenen Konto"),
        (&disable, &[], 409, "to your own account", "mit dem eigenen Konto"),
    ];
    for (path, pairs, status, english, german) in cases {
        for (language, words) in [("en", english), ("de", german)] {
            let sent = form(path, pairs).cookie(&alice.token).header("Accept-Language", language);
            let reply = server.send(sent).await;
            assert_eq!(reply.status, status, "{path} {pairs:?}: {}", reply.text());
            assert!(alert(&reply).contains(words), "{words}: {}", alert(&reply));
            for (name, value) in pairs.iter().filter(|(name, value)| *name != "password" && !value.is_empty()) {
                assert!(reply.text().contains(&format!("name=\"{name}\"")), "{name}");
                assert!(reply.text().contains(&format!("value=\"{value}\"")), "what was typed stays: {value}");
            }
            assert!(!reply.text().contains("value=\"short\""), "but for passwords");
        }
    }
    assert_eq!(server.send(form(&reset, &[]).cookie(&alice.token)).await.status, 409);
    assert_eq!(server.check(&alice.token).await, 200);
    let page = read(&server, &alice, &own).await;
    assert!(links(&page, &format!("{own}/")).is_empty(), "nor is it offered: {page}");
    assert_eq!(links(&page, "/password"), ["/password"]);
    server.stop().await;
}

#[on_both_stores]
async fn the_last_administrator_stays_one(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let id = add(&server, &alice, "carol").await;
    let edit = [("username", "carol"), ("name", "carol"), ("admin", "true")];
    assert_eq!(server.send(form(&page_of(&id, ""), &edit).cookie(&alice.token)).await.status, 303);
    let carol = server.log_in("carol").await;
    let disabled = server.send(form(&page_of(&id, "disable"), &[]).cookie(&alice.token)).await;
    assert_eq!((disabled.status, server.check(&carol.token).await), (303, 401));
    // A disabled administrator is none who is left, so Alice is the last one, for the pages and for herself.
    let own = form(&page_of(&alice.user, ""), &[("username", ALICE), ("name", ALICE)]);
    assert_eq!(server.send(own.cookie(&alice.token)).await.status, 409);
    assert_eq!(server.send(get(USERS).cookie(&alice.token)).await.status, 200);
    server.stop().await;
}

#[on_both_stores]
async fn users_are_found_and_shown_page_by_page(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    for name in ["a_b", "axb", "carol"] {
        server.advance(MINUTE);
        add(&server, &alice, name).await;
    }
    server.advance(3 * MINUTE);
    let named = |page: &str| {
        let names = page.split("class=\"strong\"").skip(1).filter_map(|rest| rest.split('>').nth(1)?.split('<').next());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let found = async |q: &str| named(&read(&server, &alice, &format!("{USERS}?q={q}")).await);
    assert_eq!(found("CAR").await, ["carol"]);
    assert_eq!(found("a_b").await, ["a_b"], "no pattern");
    assert_eq!(found("bob%40example.com").await, ["bob"]);
    assert_eq!(found("%25").await, Vec::<String>::new());
    let none = read(&server, &alice, &format!("{USERS}?q=%22%3E%3Cb%3E")).await;
    assert!(none.contains("No user matches.") && !none.contains("\"><b>"), "{none}");
    assert_eq!(links(&none, "/admin/users?"), Vec::<String>::new());

    let (mut seen, mut path) = (Vec::new(), format!("{USERS}?limit=2"));
    loop {
        let page = read(&server, &alice, &path).await;
        seen.extend(named(&page));
        let ways = links(&page, "/admin/users?limit=2");
        assert_eq!(ways.iter().filter(|way| !way.contains("cursor")).count(), usize::from(path.contains("cursor")));
        match ways.into_iter().find(|way| way.contains("cursor")) {
            Some(next) => path = next,
            None => break,
        }
    }
    // Those of the same moment come in the order of their ids.
    seen[..2].sort();
    assert_eq!(seen, [ALICE, BOB, "a_b", "axb", "carol"]);
    for (query, status) in [("cursor=AAAA", 400), ("limit=0", 400), ("q=a&q=b", 400)] {
        assert_eq!(server.send(get(&format!("{USERS}?{query}")).cookie(&alice.token)).await.status, status, "{query}");
    }
    let long = server.send(get(&format!("{USERS}?q={}", "x".repeat(257))).cookie(&alice.token)).await;
    assert_eq!((long.status, alert(&long).contains("too long")), (422, true));
    let german = server.send(get(USERS).cookie(&alice.token).header("Accept-Language", "de")).await.text();
    assert!(german.contains("Zuletzt angemeldet") && german.contains("vor 6 Minuten"), "{german}");
    server.stop().await;
}

#[on_both_stores]
async fn a_name_alone_is_changed_without_the_password(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    server.advance(20 * MINUTE);
    let same = [("username", BOB), ("email", BOB_EMAIL), ("name", "Robert")];
    let saved = server.send(form(&page_of(&bob.user, ""), &same).cookie(&alice.token)).await;
    assert_eq!(saved.status, 303, "{}", saved.text());
    assert!(read(&server, &alice, &page_of(&bob.user, "")).await.contains("<h1>Robert</h1>"));
    assert_eq!(server.log_in_with(BOB, PASSWORD).await.user, bob.user);
    server.stop().await;
}

#[on_both_stores]
async fn who_has_to_wait_can_be_let_in_at_once(store: StoreKind) {
    let server = Server::start(store).await;
    let (alice, bob) = (server.log_in(ALICE).await, server.log_in(BOB).await);
    let login = async |password| server.send(form("/login", &[("username", BOB), ("password", password)])).await.status;
    for _ in 0..5 {
        assert_eq!(login("wrong horse battery staple").await, 401);
    }
    assert_eq!(login(PASSWORD).await, 429);
    let path = page_of(&bob.user, "unlock");
    assert!(read(&server, &alice, &path).await.contains("can try to sign in again at once"));
    assert_eq!(login(PASSWORD).await, 429, "it was only asked");
    let done = server.send(form(&path, &[]).cookie(&alice.token)).await;
    assert_eq!(to(&done), (303, Some(&*format!("{}?done=unlocked", page_of(&bob.user, "")))));
    assert_eq!((login(PASSWORD).await, server.check(&bob.token).await), (303, 200));

    let page = page_of(&bob.user, "");
    let again = server.send(form(&path, &[]).cookie(&alice.token)).await;
    assert_eq!(to(&again), (303, Some(&*format!("{page}?done=nothing_locked"))));
    assert!(read(&server, &alice, &format!("{page}?done=nothing_locked")).await.contains("Nothing was locked."));
    login("wrong horse battery staple").await;
    assert!(!read(&server, &alice, &page).await.contains("Sign-ins wait"), "after one failure nothing waits");
    let until = server.now().after(5 * MINUTE).millis();
    for (counted, failures) in [(2, 30), (3, 100)] {
        let waits = format!("UPDATE throttles SET failures = {failures}, until = {until} WHERE counted = {counted}");
        server.database.execute(&waits).await;
        let shown = read(&server, &alice, &page).await;
        assert!(shown.contains(&format!(" UTC after {failures} failed tries.")), "{shown}");
        server.database.execute(&format!("UPDATE throttles SET until = 0 WHERE counted = {counted}")).await;
    }
    server.stop().await;
}

#[on_both_stores]
async fn a_form_that_was_open_for_a_while_gives_no_power_back(store: StoreKind) {
    let server = Server::start(store).await;
    let alice = server.log_in(ALICE).await;
    let page = page_of(&add(&server, &alice, "carol").await, "");
    let save = async |name: &str, admin: bool, was_admin: &str| {
        let mut pairs = vec![("username", "carol"), ("name", name), ("was_admin", was_admin)];
        pairs.extend(admin.then_some(("admin", "true")));
        assert_eq!(server.send(form(&page, &pairs).cookie(&alice.token)).await.status, 303);
        read(&server, &alice, &page).await.contains("name=\"was_admin\" value=\"true\"")
    };
    assert!(save("carol", true, "false").await, "made an administrator");
    assert!(!save("carol", false, "true").await, "and no longer");
    assert!(!save("Carol", true, "true").await, "by a form that was shown when she was one");
    server.stop().await;
}
