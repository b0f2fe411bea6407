//! Other ways in which a deployment can be wrong, or `sessiond doctor` asked for something else.

use std::io::{Seek as _, Write as _};
use std::time::Duration;

use rustix::process::Signal;
use sessiond_needs::needs;
use sessiond_support::process::{self, Process};
use sessiond_support::wait::until;
use tokio::net::TcpListener;

use super::{Diagnosis, sessions_left, set_clock};
use crate::harness::back_end::BackEnd;
use crate::harness::process::serving;
use crate::harness::{BOB, PASSWORD, StoreKind};
use crate::proxies::deployment::{Deployment, port_of};
use crate::proxies::example::{NGINX, TRAEFIK, choose, port};

/// Bob, whose password comes from standard input.
const AS_BOB: [&str; 3] = ["--username", BOB, "--password-stdin"];

/// Runs it for a page of nginx, with these arguments beside the URL.
async fn diagnose(deployment: &Deployment, more: &[&str], password: &str) -> Diagnosis {
    let url = format!("http://{}/app/", deployment.host);
    Diagnosis::make(&[&["--url", &url], more].concat(), password).await
}

#[tokio::test]
async fn what_is_no_page_is_refused_before_anything_is_sent() {
    for (arguments, sentence) in [
        (&["--url", "ftp://app.example/"][..], "--url is not the URL of a page"),
        (&["--url", "http://me:s3cret@app.example/"], "--url holds a user or a password"),
        (&["--url", "http://app.example/", "--login-url", "data:x"], "--login-url is not the URL of a page"),
        (&["--url", "http://app.example/", "--password-stdin"], "a password without a name"),
        (&["--url", "http://app.example/", "--cacert", "/nowhere"], "/nowhere holds no certificates"),
        (&["--url", "nowhere"], "invalid value 'nowhere'"),
        (&[], "--url <URL>"),
    ] {
        let diagnosis = Diagnosis::make(arguments, PASSWORD).await;
        assert!(!diagnosis.0.ok && diagnosis.0.err.contains(sentence), "{arguments:?}: {:?}", diagnosis.0);
        assert_eq!(diagnosis.0.out, "", "{arguments:?}");
        assert!(!diagnosis.0.err.contains("s3cret"), "{:?}", diagnosis.0);
    }
}

#[tokio::test]
async fn a_url_where_nothing_answers_is_a_fault_of_its_own() {
    // No name server is asked for one of this length.
    let (free, no_name) = (port(), "n".repeat(64));
    for (url, sentence) in [
        (
            format!("http://127.0.0.1:{free}/app/"),
            format!("127.0.0.1:{free} cannot be connected to (Connection refused"),
        ),
        (format!("http://{no_name}/app/"), format!("the name {no_name} has no address")),
    ] {
        let diagnosis = Diagnosis::make(&["--url", &url], "").await;
        assert_eq!(diagnosis.faults(), ["reached"].into(), "{:?}", diagnosis.0);
        assert!(!diagnosis.0.ok && diagnosis.0.out.contains(&sentence), "{:?}", diagnosis.0);
    }
}

#[tokio::test]
async fn sessiond_without_a_proxy_is_no_application() {
    let (_home, server) = serving(StoreKind::Sqlite).await;
    for path in ["app/", "verify", "sessions"] {
        let url = format!("http://{}/{path}", server.listen);
        let diagnosis = Diagnosis::make(&[&["--url", &url][..], &AS_BOB].concat(), PASSWORD).await;
        let sentence = "sessiond itself answers";
        assert!(!diagnosis.0.ok && diagnosis.0.out.contains(sentence), "{path}: {:?}", diagnosis.0);
    }
}

#[needs(nginx)]
#[tokio::test]
async fn a_wrong_password_is_said_and_so_is_what_was_left_out() {
    let deployment = Deployment::new(&NGINX).await;
    let diagnosis = diagnose(&deployment, &AS_BOB, "another password").await;
    assert_eq!(diagnosis.faults(), ["login"].into(), "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("login: The username or the password is wrong."), "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("cache, logout. They need a session"), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn without_a_user_everything_else_is_tried() {
    let deployment = Deployment::new(&NGINX).await;
    let diagnosis = diagnose(&deployment, &[], "").await;
    assert!(diagnosis.0.ok, "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("They need somebody who logs in: give `--username`."), "{:?}", diagnosis.0);
    let made = diagnosis.saying("ok");
    assert!(["claims", "forwarded-headers", "login-page"].iter().all(|name| made.contains(name)), "{made:?}");
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn what_the_application_was_sent_is_not_known_unless_it_says_so() {
    let hide = |text: String| {
        text.replace("auth_request /_verify;", "auth_request /_verify; proxy_set_header X-Sessiond-Doctor '';")
    };
    let deployment = Deployment::changed(&NGINX, hide).await;
    set_clock(&deployment);
    for (more, words) in [(&[][..], "is not seen from here"), (&["--backend-echo"], "does not show the headers")] {
        let diagnosis = diagnose(&deployment, &[&AS_BOB[..], more].concat(), PASSWORD).await;
        assert_eq!(diagnosis.saying("cannot tell"), ["identity-headers", "back-end-cookie"], "{:?}", diagnosis.0);
        assert!(diagnosis.0.ok && diagnosis.0.out.contains(words), "{:?}", diagnosis.0);
    }
    deployment.stop().await;

    // A page that shows them is recognised.
    let deployment = Deployment::new(&NGINX).await;
    set_clock(&deployment);
    let diagnosis = diagnose(&deployment, &AS_BOB, PASSWORD).await;
    assert_eq!(diagnosis.saying("cannot tell"), Vec::<&str>::new(), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn an_application_that_does_not_get_the_cookie_has_nothing_to_note() {
    let deployment = Deployment::changed(&NGINX, |text| choose(&text, "keep the session cookie")).await;
    set_clock(&deployment);
    let diagnosis = Diagnosis::of(&deployment).await;
    assert_eq!((diagnosis.0.ok, diagnosis.saying("note")), (true, Vec::new()), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_noticed() {
    let settings = |host: &str| format!("public_url = 'http://{host}'");
    let deployment = Deployment::with(&NGINX, settings, |text| text).await;
    set_clock(&deployment);
    let diagnosis = Diagnosis::of(&deployment).await;
    assert_eq!(diagnosis.faults(), ["return-address"].into(), "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("trusted_proxies"), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn https_that_is_required_and_not_there_is_noticed() {
    let settings =
        |host: &str| format!("trusted_proxies = ['127.0.0.1']\npublic_url = 'http://{host}'\nrequire_https = true");
    let deployment = Deployment::with(&NGINX, settings, |text| text).await;
    let diagnosis = Diagnosis::of(&deployment).await;
    assert_eq!(diagnosis.faults(), ["login-page"].into(), "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("X-Forwarded-Proto"), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn a_login_page_that_is_nowhere_is_noticed() {
    let settings = |_: &str| "trusted_proxies = ['127.0.0.1']\npublic_url = 'http://localhost:1'".to_owned();
    let deployment = Deployment::with(&NGINX, settings, |text| text).await;
    let diagnosis = Diagnosis::of(&deployment).await;
    assert_eq!(diagnosis.faults(), ["login-page"].into(), "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("set `public_url` to the origin that browsers see"), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn a_clock_that_is_a_day_ahead_is_noticed() {
    let deployment = Deployment::new(&NGINX).await;
    set_clock(&deployment);
    deployment.server.advance(Duration::from_hours(24));
    let diagnosis = Diagnosis::of(&deployment).await;
    assert_eq!(diagnosis.faults(), ["clock"].into(), "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("ahead of this machine's"), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn a_session_longer_than_browsers_keep_cookies_is_noticed() {
    let settings = |host: &str| {
        format!(
            "trusted_proxies = ['127.0.0.1']\npublic_url = 'http://{host}'\nsession_idle = '500d'\nsession_absolute = '500d'"
        )
    };
    let deployment = Deployment::with(&NGINX, settings, |text| text).await;
    set_clock(&deployment);
    let diagnosis = Diagnosis::of(&deployment).await;
    assert_eq!(diagnosis.faults(), ["lifetimes"].into(), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn a_cookie_that_never_reaches_the_application_is_noticed_before_it_goes_round() {
    for (more, fault) in [("", Some("cookie-reach")), ("cookie_domain = 'example.localhost'", None)] {
        let settings = |host: &str| {
            let origin = |name: &str| format!("'http://{name}.example.{host}'");
            let (auth, app) = (origin("auth"), origin("app"));
            format!("trusted_proxies = ['127.0.0.1']\npublic_url = {auth}\nallowed_return_origins = [{app}]\n{more}")
        };
        let deployment = Deployment::with(&NGINX, settings, |text| text).await;
        set_clock(&deployment);
        let url = format!("http://app.example.{}/app/", deployment.host);
        let diagnosis = Diagnosis::make(&[&["--url", &url][..], &AS_BOB].concat(), PASSWORD).await;
        assert_eq!(diagnosis.faults(), fault.into_iter().collect(), "{:?}", diagnosis.0);
        let sentence = "is set for auth.example.localhost alone and never sent to app.example.localhost";
        assert_eq!(diagnosis.0.out.contains(sentence), fault.is_some(), "{:?}", diagnosis.0);
        assert_eq!(sessions_left(&deployment).await, 0);
        deployment.stop().await;
    }
}

#[needs(nginx)]
#[tokio::test]
async fn a_page_that_people_are_not_sent_back_to_is_noticed() {
    // The service takes itself to be at another port of the same host, so that the cookie does come along.
    let settings = |_: &str| "trusted_proxies = ['127.0.0.1']\npublic_url = 'http://localhost:1'".to_owned();
    let deployment = Deployment::with(&NGINX, settings, |text| text).await;
    set_clock(&deployment);
    let login = format!("http://{}", deployment.host);
    let diagnosis = diagnose(&deployment, &[&AS_BOB[..], &["--login-url", &login]].concat(), PASSWORD).await;
    assert_eq!(diagnosis.faults(), ["way-back"].into(), "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("allowed_return_origins"), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(nginx)]
#[tokio::test]
async fn over_tls_a_certificate_has_to_be_trusted_and_browsers_told_to_stay() {
    let folder = tempfile::tempdir().expect("a directory");
    let made = rcgen::generate_simple_self_signed([String::from("localhost")]).expect("a certificate");
    let [certificate, key] = ["certificate", "key"].map(|name| folder.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let (certificate, key) = (certificate.to_str().expect("UTF-8"), key.to_str().expect("UTF-8"));
    for (hidden, wanted) in [("", None), ("proxy_hide_header Strict-Transport-Security;", Some("encryption"))] {
        let tls = |text: String| {
            let server = format!("server {{ ssl_certificate {certificate}; ssl_certificate_key {key};");
            let lines = text.lines().map(|line| match line.trim() {
                listen if listen.starts_with("listen ") => listen.replace(';', " ssl;"),
                "server {" => server.clone(),
                "location / {" => format!("location / {{ {hidden}"),
                _ => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let settings = |host: &str| format!("trusted_proxies = ['127.0.0.1']\npublic_url = 'https://{host}'");
        let deployment = Deployment::with(&NGINX, settings, tls).await;
        set_clock(&deployment);
        let url = format!("https://{}/app/", deployment.host);
        let arguments = [&["--url", &url, "--backend-echo"][..], &AS_BOB].concat();
        let diagnosis = Diagnosis::make(&arguments, PASSWORD).await;
        assert_eq!(diagnosis.faults(), ["reached"].into(), "{:?}", diagnosis.0);
        assert!(diagnosis.0.out.contains("its TLS is not accepted"), "{:?}", diagnosis.0);

        let diagnosis = Diagnosis::make(&[&arguments[..], &["--cacert", certificate]].concat(), PASSWORD).await;
        assert_eq!(diagnosis.faults(), wanted.into_iter().collect(), "{:?}", diagnosis.0);
        assert_eq!(diagnosis.0.ok, wanted.is_none(), "{:?}", diagnosis.0);
        deployment.stop().await;
    }
}

#[needs(nginx)]
#[tokio::test]
async fn a_limit_of_logins_is_no_fault() {
    let limit = |text: String| {
        text.replace("access_log off;", "access_log off; limit_req_zone $server_port zone=logins:1m rate=1r/m;").replace(
            "location / {",
            "location = /api/v1/auth/login { limit_req zone=logins; proxy_pass http://sessiond; proxy_set_header Host \
             $http_host; proxy_set_header X-Forwarded-For $remote_addr; }\n location / {",
        )
    };
    let deployment = Deployment::changed(&NGINX, limit).await;
    set_clock(&deployment);
    let diagnosis = Diagnosis::of(&deployment).await;
    assert_eq!(diagnosis.saying("cannot tell"), ["client-address"], "{:?}", diagnosis.0);
    assert!(diagnosis.0.ok && diagnosis.0.out.contains("if something limits them"), "{:?}", diagnosis.0);
    deployment.stop().await;
}

#[needs(traefik)]
#[tokio::test]
async fn a_service_that_does_not_answer_is_a_check_that_fails() {
    let back_end = BackEnd::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent_port = silent.local_addr().expect("bound").port().to_string();
    // It waits for longer than this does.
    let proxy = TRAEFIK.start([&port(), port_of(&back_end.address), &silent_port], |text| text).await;
    let diagnosis = Diagnosis::make(&["--url", &format!("http://{}/app/", proxy.address)], "").await;
    assert_eq!(diagnosis.faults(), ["reached"].into(), "{:?}", diagnosis.0);
    assert!(diagnosis.0.out.contains("sessiond healthcheck"), "{:?}", diagnosis.0);
}

#[needs(nginx)]
#[tokio::test]
async fn stopped_in_the_middle_it_logs_out_first() {
    // Each request for the page takes its time.
    let slow = |text: String| {
        text.replace("access_log off;", "access_log off; limit_req_zone $server_port zone=slow:1m rate=5r/s;")
            .replace("auth_request /_verify;", "auth_request /_verify; limit_req zone=slow burst=200;")
    };
    let deployment = Deployment::changed(&NGINX, slow).await;
    let mut input = tempfile::tempfile().expect("a file");
    input.write_all(PASSWORD.as_bytes()).and_then(|()| input.rewind()).expect("written");
    let mut command = process::command(env!("CARGO_BIN_EXE_sessiond"));
    let url = format!("http://{}/app/", deployment.host);
    command.args(["doctor", "--url", &url]).args(AS_BOB).stdin(input);
    let mut doctor = Process::spawn(command).expect("started");
    until("somebody is logged in", async || doctor.printed().contains("ok           login: ")).await;
    doctor.signal(Signal::INT).expect("signalled");
    let ended = doctor.ended().await.expect("an end");
    assert!(!ended.success() && doctor.log().contains("it was stopped"), "{} {}", doctor.printed(), doctor.log());
    assert!(!doctor.printed().contains("logout: "), "it had come to its end: {}", doctor.printed());
    assert_eq!(sessions_left(&deployment).await, 0);
    deployment.stop().await;
}
