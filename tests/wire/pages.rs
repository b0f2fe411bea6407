//! The pages as a browser without scripts uses them.

use sessiond_needs::on_both_stores;

use crate::harness::{BOB, PASSWORD, Reply, Server, StoreKind, TestRequest, get, post};

const NAVIGATION: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// A form as it is sent from the page that it stands on.
fn form(path: &str, pairs: &[(&str, &str)]) -> TestRequest {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    post(path).form(&body)
}

fn sign_in(return_to: &str) -> TestRequest {
    form("/login", &[("username", BOB), ("password", PASSWORD), ("return_to", return_to)])
}

fn to(reply: &Reply) -> (u16, Option<&str>) {
    (reply.status, reply.header("location"))
}

#[on_both_stores]
async fn a_person_signs_in_sees_where_and_signs_out(store: StoreKind) {
    let server = Server::start(store).await;
    assert_eq!(to(&server.send(get("/")).await), (303, Some("/login")));
    assert_eq!(to(&server.send(get("/sessions")).await), (303, Some("/login?return_to=%2Fsessions")));
    let page = server.send(get("/login")).await;
    for word in ["autocomplete=\"username\"", "autocomplete=\"current-password\"", "for=\"password\"", "lang=\"en\""] {
        assert!(page.text().contains(word), "{word}: {}", page.text());
    }
    let signed_in = server.send(sign_in("")).await;
    assert_eq!(to(&signed_in), (303, Some("/sessions")));
    let token = signed_in.cookie().expect("a cookie");

    let list = server.send(get("/sessions").cookie(&token).header("User-Agent", "curl/8.5.0")).await;
    assert_eq!(list.status, 200);
    assert!(list.text().contains("This device") && list.text().contains("Only this device"), "{}", list.text());
    assert_eq!(to(&server.send(get("/login").cookie(&token)).await), (303, Some("/sessions")), "straight through");
    assert_eq!(to(&server.send(get("/").cookie(&token)).await), (303, Some("/sessions")));

    assert_eq!(server.send(get("/logout").cookie(&token)).await.status, 200, "it asks");
    assert_eq!(server.check(&token).await, 200, "a link ends nothing");
    for _ in 0..2 {
        let signed_out = server.send(form("/logout", &[]).cookie(&token)).await;
        assert_eq!(to(&signed_out), (303, Some("/login?signed_out=1")));
        assert!(signed_out.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
        assert_eq!(server.check(&token).await, 401);
    }
    assert!(server.send(get("/login?signed_out=1")).await.text().contains("You were signed out."));
    server.stop().await;
}

#[on_both_stores]
async fn what_is_wrong_is_said_on_the_page_and_the_name_is_kept(store: StoreKind) {
    let server = Server::start(store).await;
    let wrong =
        server.send(form("/login", &[("username", "\"><b>"), ("password", "no"), ("return_to", "/x\"y")])).await;
    let page = wrong.text();
    assert_eq!(wrong.status, 401, "{page}");
    assert!(page.contains("role=\"alert\"") && page.contains("do not match"), "{page}");
    assert!(!page.contains("\"><b>") && !page.contains("/x\"y") && !page.contains("value=\"no\""), "{page}");
    assert!(wrong.all("set-cookie").is_empty());
    assert_eq!(server.send(form("/login", &[("username", BOB)])).await.status, 422);
    assert_eq!(server.send(post("/login").json(&serde_json::json!({}))).await.status, 415);
    let german = server.send(get("/login").header("Accept-Language", "de-AT, en;q=0.5")).await.text();
    assert!(german.contains("lang=\"de\"") && german.contains("Anmelden"), "{german}");
    server.stop().await;
}

#[on_both_stores]
async fn one_returns_to_ones_own_origin_or_a_listed_one_and_nowhere_else(store: StoreKind) {
    let settings = "public_url = 'https://login.example'\nallowed_return_origins = ['https://app.login.example']
         cookie_domain = 'login.example'";
    let server = Server::with(store, settings).await;
    for (raw, wanted) in [
        ("/app/x?a=1&b=%26&c=+&d=%C3%A9&e=a%2Fb&return_to=z", "/app/x?a=1&b=%26&c=+&d=%C3%A9&e=a%2Fb&return_to=z"),
        ("https://login.example/x", "/x"),
        ("https://LOGIN.example:443/x", "/x"),
        ("/login?return_to=/x", "/sessions"),
        ("/logout", "/sessions"),
        ("", "/sessions"),
        ("http://login.example/x", "/sessions"),
        ("https://login.example:444/x", "/sessions"),
        ("//evil.example/x", "/sessions"),
        ("/\\evil.example", "/sessions"),
        ("\\\\evil.example", "/sessions"),
        ("https:/\\evil.example", "/sessions"),
        ("https://login.example@evil.example/", "/sessions"),
        ("https://me@login.example/", "/sessions"),
        ("https://login.example.evil.example/", "/sessions"),
        ("https://login.example//evil.example", "/sessions"),
        ("/.//evil.example", "/sessions"),
        ("javascript:alert(1)", "/sessions"),
        ("data:text/html,x", "/sessions"),
        ("/\t/evil.example", "/sessions"),
        ("/x\r\nSet-Cookie: a=b", "/xSet-Cookie:%20a=b"),
        ("https://evil.example", "/sessions"),
    ] {
        let signed_in = server.send(sign_in(raw)).await;
        assert_eq!(to(&signed_in), (303, Some(wanted)), "{raw:?}");
        let token = signed_in.cookie().expect("a cookie");
        let query: String = form_urlencoded::byte_serialize(raw.as_bytes()).collect();
        let through = server.send(get(&format!("/login?return_to={query}")).cookie(&token)).await;
        assert_eq!(to(&through), (303, Some(wanted)), "straight through: {raw:?}");
    }
    let onward = server.send(sign_in("https://app.login.example/x?y=1&z=\"2")).await;
    assert_eq!(onward.status, 200, "a redirect after a form would be held by form-action");
    let page = onward.text();
    assert!(page.contains("http-equiv=\"refresh\"") && page.contains("app.login.example/x?y=1&#38;z=%222"), "{page}");
    server.stop().await;
}

#[on_both_stores]
async fn an_origin_that_the_cookie_does_not_reach_gets_words_and_no_loop(store: StoreKind) {
    let settings = "public_url = 'http://auth.localhost'\nallowed_return_origins = ['http://app.localhost']";
    let server = Server::with(store, settings).await;
    let token = server.send(sign_in("")).await.cookie().expect("a cookie");
    let page = server.send(get("/login?return_to=http%3A%2F%2Fapp.localhost%2F").cookie(&token)).await;
    assert_eq!(to(&page), (200, None));
    assert!(page.text().contains("does not get to know it"), "{}", page.text());
    server.stop().await;
}

#[on_both_stores]
async fn sessions_are_ended_one_by_one_all_others_or_all(store: StoreKind) {
    let server = Server::start(store).await;
    let mine = server.log_in(BOB).await;
    let others = [server.log_in(BOB).await, server.log_in(BOB).await];
    let revoke = |pairs: &[(&str, &str)]| form("/sessions", pairs).cookie(&mine.token);
    let one = server.send(revoke(&[("revoke", &others[0].session)])).await;
    assert_eq!((to(&one), server.check(&others[0].token).await), ((303, Some("/sessions?ended=1")), 401));
    assert!(
        server.send(get("/sessions?ended=1").cookie(&mine.token)).await.text().contains("One session was signed out.")
    );
    for (scope, words) in [("others", "Every device but this one"), ("all", "this one too")] {
        let asked = server.send(revoke(&[("revoke", scope)])).await;
        assert!(asked.status == 200 && asked.text().contains(words), "{}", asked.text());
    }
    assert_eq!(server.check(&others[1].token).await, 200, "it only asked");
    let confirmed = [("revoke", "others"), ("confirmed", "true")];
    assert_eq!(to(&server.send(revoke(&confirmed)).await), (303, Some("/sessions?ended=1")));
    assert_eq!((server.check(&others[1].token).await, server.check(&mine.token).await), (401, 200));
    let all = server.send(revoke(&[("revoke", "all"), ("confirmed", "true")])).await;
    assert_eq!((to(&all), server.check(&mine.token).await), ((303, Some("/login?signed_out=1")), 401));
    assert!(all.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    let late = server.send(revoke(&confirmed)).await;
    assert_eq!(to(&late), (303, Some("/login?return_to=%2Fsessions")));
    server.stop().await;
}

#[on_both_stores]
async fn a_password_is_changed_and_other_sessions_end(store: StoreKind) {
    const NEW: &str = "a completely different one";
    let server = Server::start(store).await;
    let (mine, other) = (server.log_in(BOB).await, server.log_in(BOB).await);
    let change =
        |current, new| form("/password", &[("current_password", current), ("new_password", new)]).cookie(&mine.token);
    assert_eq!(to(&server.send(get("/.well-known/change-password")).await), (303, Some("/password")));
    assert_eq!(to(&server.send(get("/password")).await), (303, Some("/login?return_to=%2Fpassword")));
    assert!(server.send(get("/password").cookie(&mine.token)).await.text().contains("readonly"));
    assert_eq!(server.send(change("wrong", NEW)).await.status, 401);
    assert_eq!(server.send(change(PASSWORD, "short")).await.status, 422);
    let changed = server.send(change(PASSWORD, NEW)).await;
    assert_eq!(to(&changed), (303, Some("/sessions?password_changed=1&ended=1")));
    let renewed = changed.cookie().expect("a cookie");
    for (token, status) in [(&renewed, 200), (&mine.token, 401), (&other.token, 401)] {
        assert_eq!(server.check(token).await, status);
    }
    server.stop().await;
}

#[on_both_stores]
async fn what_is_not_there_is_a_page_for_people_and_json_for_programs(store: StoreKind) {
    let server = Server::start(store).await;
    let page = server.send(get("/nothing").header("Accept", NAVIGATION)).await;
    assert!(page.status == 404 && page.text().contains("There is nothing here"), "{}", page.text());
    assert_eq!(server.send(get("/nothing")).await.json()["error"]["code"], 404);
    let slash = server.send(get("/login/?return_to=%2Fx").header("Accept", NAVIGATION)).await;
    assert_eq!(to(&slash), (308, Some("/login?return_to=%2Fx")));
    let style = server.send(get("/login")).await.text();
    let style = style.split("href=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a stylesheet").to_owned();
    let css = server.send(get(&style)).await;
    assert_eq!((css.status, css.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert_eq!(server.send(get("/assets/style-x.css")).await.status, 404);
    server.stop().await;
}
