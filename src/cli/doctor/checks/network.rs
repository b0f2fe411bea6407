//! What others on the network can read, and which servers answer.

use std::collections::BTreeSet;

use url::Url;

use super::super::client::{Problem, Request, host};
use super::super::faults::Fault;
use super::super::findings::Outcome;
use super::super::site::{Site, Verdict, bare, navigation};
use super::login::is_local;
use crate::cli::answer::Answer;

/// How often each replica behind a balancer is likely to be asked at least once.
const TIMES: usize = 8;

/// Whether everything is encrypted, and stays so. `at_login` is an answer of the login page.
pub fn encryption(site: &Site, login: &Url, at_login: &Answer) -> Outcome {
    if let Some(fault) = [&site.page, login].into_iter().find_map(in_clear) {
        return fault;
    }
    if site.page.scheme() == "http" {
        return Outcome::Ok("It is plain HTTP, and stays on this machine.".into());
    }
    if at_login.header("strict-transport-security").is_none() {
        let sentence = "Nothing tells browsers to stay with https: the login page has no `Strict-Transport-Security`.";
        return Outcome::Fault(Fault::NoHsts, sentence.into());
    }
    if site.page.port().is_some() {
        return Outcome::Ok("It is https, and browsers stay with it.".into());
    }
    match without_tls(site) {
        // Nothing there is as good as a redirect.
        Err(_) | Ok(None) => Outcome::Ok("It is https, browsers stay with it, and http leads to it.".into()),
        Ok(Some(words)) => {
            let sentence = format!("By http the page is {words}, where it should lead to https.");
            Outcome::Fault(Fault::InClear, sentence)
        }
    }
}

/// Whether what goes there can be read on the network.
fn in_clear(url: &Url) -> Option<Outcome> {
    let sentence = || format!("Passwords and sessions go over the network in clear: {} is not https.", bare(url));
    (url.scheme() == "http" && !is_local(url)).then(|| Outcome::Fault(Fault::InClear, sentence()))
}

/// What answers at the same URL by http, unless it leads to https.
fn without_tls(site: &Site) -> Result<Option<String>, Problem> {
    let mut url = site.page.clone();
    if url.set_scheme("http").is_err() {
        return Ok(None);
    }
    let (verdict, _) = site.ask(&navigation(url))?;
    if let Verdict::ToLogin(to) | Verdict::Elsewhere(to) = &verdict
        && to.scheme() == "https"
    {
        return Ok(None);
    }
    Ok(Some(verdict.words()))
}

/// Whether every server that answers runs the same build.
pub fn builds(site: &Site, login: &Url) -> Result<Outcome, Problem> {
    let mut url = login.clone();
    url.set_path("/api/v1/auth/session");
    let mut builds = BTreeSet::new();
    for _ in 0..TIMES {
        let answer = site.client.send(&Request::new("GET", url.clone()))?;
        builds.insert(answer.header("x-api-commit").map(str::to_owned));
    }
    Ok(judge_builds(&builds, login))
}

fn judge_builds(builds: &BTreeSet<Option<String>>, login: &Url) -> Outcome {
    let named: Vec<_> = builds.iter().flatten().map(String::as_str).collect();
    match named.as_slice() {
        [one] if builds.len() == 1 => Outcome::Ok(format!("Every server at {} runs the build {one}.", host(login))),
        [] => Outcome::Note(
            "The answers do not say which build they come from: something removes `X-Api-Commit`, by which front ends see that there is a new one.".into(),
        ),
        [_] => Outcome::Note("Some answers do not say which build they come from: not all are sessiond's.".into()),
        several => Outcome::Note(format!(
            "The servers run different builds ({}): an update is under way, or was not finished.",
            several.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_a_fault_unless_it_stays_on_this_machine() {
        for (url, fault) in [
            ("https://app.example/", false),
            ("http://app.example/", true),
            ("http://192.0.2.1/", true),
            ("http://localhost.example/", true),
            ("http://app.localhost:8000/", false),
            ("http://127.0.0.2/", false),
            ("http://[::1]/", false),
        ] {
            assert_eq!(in_clear(&Url::parse(url).expect("a URL")).is_some(), fault, "{url}");
        }
    }

    #[test]
    fn servers_of_different_builds_are_worth_a_note() {
        let login = Url::parse("https://auth.example/").expect("a URL");
        for (builds, note) in [
            (&[Some("97dd2ae")][..], None),
            (&[Some("97dd2ae"), Some("4167ae9")], Some("(4167ae9, 97dd2ae)")),
            (&[Some("97dd2ae"), None], Some("not all are sessiond's")),
            (&[None], Some("something removes")),
        ] {
            let set = builds.iter().map(|build| build.map(str::to_owned)).collect();
            match (judge_builds(&set, &login), note) {
                (Outcome::Ok(sentence), None) => assert!(sentence.contains("97dd2ae"), "{sentence}"),
                (Outcome::Note(sentence), Some(words)) => assert!(sentence.contains(words), "{sentence}"),
                (outcome, _) => panic!("{builds:?}: {outcome:?}"),
            }
        }
    }
}
