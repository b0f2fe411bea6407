//! The pages as a browser without scripts uses them.

use sessiond_needs::on_both_stores;

use crate::harness::{BOB, PASSWORD, Reply, Server, StoreKind, TestRequest, get, post};

mod admin;

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
        assert_eq!(signed_out.header("clear-site-data"), Some("\"cache\""), "or the back button shows what was there");
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
        assert_eq!(to(&asked), (303, Some(&*format!("/sessions?ask={scope}"))));
        let asked = server.send(get(&format!("/sessions?ask={scope}")).cookie(&mine.token)).await;
        assert!(asked.status == 200 && asked.text().contains(words), "{}", asked.text());
    }
    assert_eq!(server.check(&others[1].token).await, 200, "it only asked");
    let confirmed = [("revoke", "others"), ("confirmed", "true")];
    assert_eq!(to(&server.send(revoke(&confirmed)).await), (303, Some("/sessions?ended=1")));
    assert_eq!((server.check(&others[1].token).await, server.check(&mine.token).await), (401, 200));
    let all = server.send(revoke(&[("revoke", "all"), ("confirmed", "true")])).await;
    assert_eq!((to(&all), server.check(&mine.token).await), ((303, Some("/login?signed_out=1")), 401));
    assert!(all.header("set-cookie").is_some_and(|cookie| cookie.contains("Max-Age=0")));
    assert_eq!((all.header("clear-site-data"), one.header("clear-site-data")), (Some("\"cache\""), None));
    let late = server.send(revoke(&confirmed)).await;
    assert_eq!(to(&late), (303, Some("/login?return_to=%2Fsessions")));
    for (request, wanted) in [(get("/sessions").cookie(&mine.token), Some("\"cache\"")), (get("/sessions"), None)] {
        assert_eq!(server.send(request).await.header("clear-site-data"), wanted, "where a session has ended elsewhere");
    }
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
    let id = page.header("x-request-id").expect("an id");
    assert!(page.text().contains(&format!("<code>{id}</code>")), "people can quote it: {}", page.text());
    server.stop().await;
}

/// Where a page has what an attribute links to, by the first words of the path.
fn linked(page: &Reply, begin: &str) -> String {
    let text = page.text();
    let at = text.find(begin).unwrap_or_else(|| panic!("no {begin} in {text}"));
    text[at..].split('"').next().expect("the end of an attribute").to_owned()
}

#[on_both_stores]
async fn the_pages_are_dressed_as_the_operator_says(store: StoreKind) {
    let plain = Server::start(store).await;
    let page = plain.send(get("/login")).await;
    assert!(page.text().contains("<title>Sign in · sessiond</title>"), "{}", page.text());
    assert_eq!(plain.send(get("/assets/style-x.css")).await.status, 404);
    let own = plain.send(get(&linked(&page, "/assets/style-"))).await;
    plain.stop().await;

    let logo = tempfile::Builder::new().suffix(".svg").tempfile().expect("a file");
    let drawing = "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
    std::fs::write(logo.path(), drawing).expect("written");
    let settings =
        format!("brand_name = '<b>Harbour & Söhne'\naccent_color = '#0f766e'\nlogo_file = '{}'", logo.path().display());
    let server = Server::with(store, &settings).await;
    let page = server.send(get("/login")).await;
    assert!(page.text().contains("alt=\"&#60;b&#62;Harbour &#38; Söhne\""), "{}", page.text());
    for (begin, kind) in [
        ("/assets/style-", "text/css; charset=utf-8"),
        ("/assets/icon-", "image/svg+xml"),
        ("/assets/logo-", "image/svg+xml"),
    ] {
        let file = server.send(get(&linked(&page, begin))).await;
        assert_eq!((file.status, file.header("content-type")), (200, Some(kind)), "{begin}");
        assert!(file.header("cache-control").is_some_and(|rule| rule.contains("immutable")), "{file:?}");
        let policy = file.header("content-security-policy").expect("a policy");
        assert!(policy.contains("default-src 'none'") && policy.ends_with("sandbox"), "a script in it does not run");
    }
    let style = server.send(get(&linked(&page, "/assets/style-"))).await;
    assert!(style.text().starts_with(&own.text()) && style.text().contains("--accent: #0f766e"), "{}", style.text());
    assert_eq!(server.send(get(&linked(&page, "/assets/logo-"))).await.text(), drawing);
    server.stop().await;
}

#[on_both_stores]
async fn signing_out_leads_back_to_where_one_came_from(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    let path = "/logout?return_to=%2Fapp%2F%3Fa%3D1%26b%3D2";
    let asked = server.send(get(path).cookie(&bob.token)).await.text();
    assert!(asked.contains("href=\"/app/?a=1&#38;b=2\""), "the safe way is back: {asked}");
    let hostile = server.send(get("/logout?return_to=https%3A%2F%2Fevil.example%2F").cookie(&bob.token)).await.text();
    assert!(!hostile.contains("evil") && hostile.contains("href=\"/sessions\""), "{hostile}");
    let signed_out = server.send(form(path, &[]).cookie(&bob.token)).await;
    assert_eq!(to(&signed_out), (303, Some("/login?signed_out=1&return_to=%2Fapp%2F%3Fa%3D1%26b%3D2")));
    assert_eq!(server.check(&bob.token).await, 401);
    let login = server.send(get("/login?signed_out=1&return_to=%2Fapp%2F%3Fa%3D1%26b%3D2")).await.text();
    assert!(login.contains("value=\"/app/?a=1&#38;b=2\"") && login.contains("You were signed out."), "{login}");
    server.stop().await;
}

#[on_both_stores]
async fn the_form_promises_no_other_time_than_is_set(store: StoreKind) {
    let server = Server::with(store, "remembered_absolute = '7d'\nremembered_idle = '7d'").await;
    for language in ["en", "de"] {
        let page = server.send(get("/login").header("Accept-Language", language)).await.text();
        assert!(page.contains("remember-hint") && !page.contains("30 "), "{page}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn why_a_password_cannot_be_the_new_one_is_said_in_the_language_of_the_page(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    for (new, english, german) in [
        ("short", "needs at least 8 characters", "braucht mindestens 8 Zeichen"),
        ("password1", "is one of the most common ones", "eines der häufigsten"),
        ("bob-bob-bob", "must not be made of the username", "nicht aus dem Benutzernamen"),
        (PASSWORD, "must differ from the current one", "vom bisherigen unterscheiden"),
    ] {
        for (language, words) in [("en", english), ("de", german)] {
            let change = form("/password", &[("current_password", PASSWORD), ("new_password", new)]);
            let page = server.send(change.cookie(&bob.token).header("Accept-Language", language)).await;
            assert_eq!(page.status, 422, "{new}");
            assert!(page.text().contains(words), "{words}: {}", page.text());
        }
    }
    server.stop().await;
}

#[on_both_stores]
async fn no_answer_has_a_longer_head_than_a_proxy_takes(store: StoreKind) {
    let server = Server::start(store).await;
    for raw in ["/app/?q=".to_owned() + &"a".repeat(4_000), "/app/?q=".to_owned() + &"ä".repeat(1_000)] {
        let bob = server.log_in(BOB).await;
        let back: String = form_urlencoded::byte_serialize(raw.as_bytes()).collect();
        let (login, logout) = (format!("/login?return_to={back}"), format!("/logout?return_to={back}"));
        let shown = server.send(get(&login)).await;
        assert!(shown.status == 200 && shown.text().len() < 4_000, "a form that is too long to be sent: {shown:?}");
        assert_eq!(to(&server.send(get(&login).cookie(&bob.token)).await), (303, Some("/sessions")));
        assert_eq!(to(&server.send(sign_in(&raw)).await), (303, Some("/sessions")));
        let signed_out = server.send(form(&logout, &[]).cookie(&bob.token)).await;
        assert_eq!(to(&signed_out), (303, Some("/login?signed_out=1")));
    }
    server.stop().await;
}

#[on_both_stores]
async fn no_page_is_shown_over_plain_http_where_https_is_required(store: StoreKind) {
    let settings = "public_url = 'https://login.example'\nrequire_https = true\ntrusted_proxies = ['127.0.0.1']";
    let server = Server::with(store, settings).await;
    for request in [get("/login"), get("/nothing").header("Accept", NAVIGATION), sign_in("")] {
        let refused = server.send(request.clone().header("X-Forwarded-Proto", "http")).await;
        assert_eq!((refused.status, refused.cookie()), (426, None), "{refused:?}");
        assert_ne!(server.send(request.header("X-Forwarded-Proto", "https")).await.status, 426);
    }
    let page = server.send(get("/login").header("X-Forwarded-Proto", "http")).await;
    assert!(page.text().contains("over https alone"), "{}", page.text());
    server.stop().await;
}

#[on_both_stores]
async fn a_list_says_when_and_by_which_device(store: StoreKind) {
    let server = Server::start(store).await;
    let bob = server.log_in(BOB).await;
    server.send(sign_in("").header("User-Agent", "curl/8.5.0")).await;
    server.advance(std::time::Duration::from_secs(90 * 60));
    let list = server.send(get("/sessions").cookie(&bob.token).header("Accept-Language", "de")).await.text();
    for words in ["<h2>curl</h2>", "vor 1 Stunde", "datetime=\"20", "Unbekanntes Gerät", "Abmelden: curl"] {
        assert!(list.contains(words), "{words}: {list}");
    }
    server.stop().await;
}

#[on_both_stores]
async fn api_logouts_have_a_browser_drop_its_pages_where_that_is_asked_for(store: StoreKind) {
    for (settings, wanted) in [("", None), ("clear_site_data = true", Some("\"cache\""))] {
        let server = Server::with(store, settings).await;
        for path in ["/auth/logout", "/api/v1/auth/logout"] {
            let bob = server.log_in(BOB).await;
            let by_token = server.send(post(path).bearer(&server.log_in(BOB).await.token)).await;
            let reply = server.send(post(path).cookie(&bob.token)).await;
            assert_eq!(reply.header("clear-site-data"), wanted, "{path} {settings}");
            assert_eq!(
                by_token.header("clear-site-data").is_some(),
                by_token.header("set-cookie").is_some() && wanted.is_some()
            );
        }
        server.stop().await;
    }
}
