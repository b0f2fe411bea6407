//! Without a session: the page is refused, in the right form, and leads to the login page and back.

use url::Url;

use super::super::client::{Problem, Request, host};
use super::super::faults::Fault;
use super::super::findings::Outcome;
use super::super::site::{Site, Verdict, bare, fetch, navigation, root};
use crate::cli::answer::Answer;

/// The most redirects that are followed to find the page.
const MOST_REDIRECTS: usize = 3;
/// A query whose every character is changed by some proxy.
const HARD_QUERY: &str = "a=1&b=%26&c=+&d=%C3%A9&e=a%2Fb&return_to=z";
/// Methods beside GET that change nothing (RFC 9110 section 9.2.1, RFC 4918 section 9.1).
const SAFE_METHODS: [&str; 3] = ["HEAD", "OPTIONS", "PROPFIND"];
/// What a refusal depends on above all.
const COOKIE: &str = "Cookie";

/// How the page answered first.
pub struct First {
    /// What it means.
    pub verdict: Verdict,
    answer: Answer,
}

/// Asks for the page. Redirects to https and to another path of its origin are followed, as from `/app` to `/app/`.
pub fn reached(site: &mut Site) -> Result<(Outcome, First), Outcome> {
    let asked = site.page.clone();
    for _ in 0..=MOST_REDIRECTS {
        let fault = |problem: Problem| {
            let fault = match problem {
                Problem::Tls(_) => Fault::Untrusted,
                // The proxy may be more patient than this.
                Problem::Slow => Fault::CheckFails,
                Problem::Name(..)
                | Problem::Connection(..)
                | Problem::Broken(_)
                | Problem::TooMany
                | Problem::Stopped => Fault::Unreachable,
            };
            Outcome::Fault(fault, format!("{} is not reached: {problem}.", bare(&site.page)))
        };
        let (verdict, answer) = site.ask(&navigation(site.page.clone())).map_err(fault)?;
        if let Verdict::Elsewhere(to) = &verdict
            && (root(to) == root(&site.page) || is_the_same_by_tls(to, &site.page))
        {
            site.page = to.clone();
            continue;
        }
        let from = if asked == site.page { String::new() } else { format!(", where {} leads", bare(&asked)) };
        let ok = Outcome::Ok(format!("{} answers{from}.", bare(&site.page)));
        return Ok((ok, First { verdict, answer }));
    }
    let sentence = format!("{} leads to more than {MOST_REDIRECTS} others: give the last one.", bare(&asked));
    Err(Outcome::CannotTell(sentence))
}

fn is_the_same_by_tls(to: &Url, page: &Url) -> bool {
    to.host() == page.host() && (page.scheme(), to.scheme()) == ("http", "https")
}

/// Whether the page is refused.
pub fn protected(first: &First) -> Outcome {
    let words = first.verdict.words();
    match &first.verdict {
        Verdict::ToLogin(_) | Verdict::Unauthorized | Verdict::Nowhere(_) => {
            Outcome::Ok(format!("Without a session it is {words}."))
        }
        Verdict::Allowed => Outcome::Fault(
            Fault::NotProtected,
            "It is not protected at all: without a session it is answered 200.".into(),
        ),
        Verdict::Failing(status) => {
            let sentence = format!(
                "The check fails: without a session the page is answered {status}, where it should be refused."
            );
            Outcome::Fault(Fault::CheckFails, sentence)
        }
        Verdict::Other(404) if first.answer.header("x-api-commit").is_some() => {
            let sentence = "sessiond itself answers there, with 404: nothing is protected at this URL.";
            Outcome::Fault(Fault::SessiondItself, sentence.into())
        }
        Verdict::Elsewhere(_) | Verdict::Other(_) => Outcome::CannotTell(format!(
            "Without a session it is {words}, which is not how sessiond refuses. Give a page that people see once they are logged in."
        )),
    }
}

/// Whether a browser is sent to the login page.
pub fn sent_to_login(first: &First) -> Outcome {
    match first.verdict.login_page() {
        Some(to) => Outcome::Ok(format!("A browser is sent to {}.", bare(to))),
        None => {
            let sentence = format!("A browser is not sent to the login page: it is {}.", first.verdict.words());
            Outcome::Fault(Fault::NotRedirected, sentence)
        }
    }
}

/// Whether the login page is told exactly where a browser came from. It is asked for after [`reached`], with another URL.
pub fn return_address(site: &Site) -> Result<Outcome, Problem> {
    let url = site.with_query(HARD_QUERY);
    let (verdict, _) = site.ask(&navigation(url.clone()))?;
    let Verdict::ToLogin(to) = verdict else { return Ok(unlike_before(&verdict)) };
    Ok(match return_to(&to) {
        Some(back) if back == url.as_str() => {
            Outcome::Ok("`return_to` is the page byte for byte, with its port and its query.".into())
        }
        Some(back) if back == site.page.as_str() && is_answered_the_same_elsewhere(site)? => {
            let sentence =
                "A browser is answered as somebody was who asked for another URL: the refusal is kept somewhere.";
            Outcome::Fault(Fault::RefusalKept, sentence.into())
        }
        Some(back) => differs(&url, &back),
        None => {
            let sentence = "The login page is not told where a browser came from: `return_to` is missing.";
            Outcome::Fault(Fault::ReturnMissing, sentence.into())
        }
    })
}

/// Whether somebody who asks for another page of the same folder is sent back to this one.
fn is_answered_the_same_elsewhere(site: &Site) -> Result<bool, Problem> {
    let Ok(other) = site.page.join(&format!("sessiond-doctor-{}", site.nonce)) else { return Ok(false) };
    let (verdict, _) = site.ask(&navigation(other))?;
    Ok(verdict.login_page().and_then(return_to).is_some_and(|back| back == site.page.as_str()))
}

fn return_to(login: &Url) -> Option<String> {
    login.query_pairs().find(|(name, _)| name == "return_to").map(|(_, value)| value.into_owned())
}

fn differs(url: &Url, back: &str) -> Outcome {
    let Some(other) = Url::parse(back).ok().filter(Url::has_host) else {
        let sentence = format!("`return_to` is {back}, which is no URL with scheme and host.");
        return Outcome::Fault(Fault::ReturnHost, sentence);
    };
    let (fault, sentence) = if other.scheme() != url.scheme() {
        (Fault::SchemeLost, format!("`return_to` begins with {}: where the page is {}:.", other.scheme(), url.scheme()))
    } else if host(&other) != host(url) {
        (Fault::ReturnHost, format!("`return_to` is on {}, and the page on {}.", host(&other), host(url)))
    } else {
        let target = |url: &Url| url[url::Position::BeforePath..].to_owned();
        (Fault::ReturnTarget, format!("`return_to` has {}, and the page was {}.", target(&other), target(url)))
    };
    Outcome::Fault(fault, sentence)
}

/// The answers to a script.
pub fn to_a_script(site: &Site) -> Result<(Outcome, Answer), Problem> {
    let (verdict, answer) = site.ask(&fetch(site.fresh()))?;
    let is_ours = answer.text().contains("\"authentication_error\"");
    let outcome = match verdict {
        Verdict::Unauthorized if is_ours => Outcome::Ok("A script's request is answered 401 and JSON.".into()),
        Verdict::Unauthorized => {
            Outcome::Note("A script's request is answered 401, with another body than sessiond's JSON.".into())
        }
        Verdict::Failing(status) => {
            let sentence = format!("The check fails: a script's request is answered {status}.");
            Outcome::Fault(Fault::CheckFails, sentence)
        }
        Verdict::Allowed => {
            Outcome::Fault(Fault::NotProtected, "A script's request is answered 200 without a session.".into())
        }
        Verdict::ToLogin(_) | Verdict::Elsewhere(_) | Verdict::Nowhere(_) | Verdict::Other(_) => {
            let sentence = format!("A script's request is {}, where it should be answered 401.", verdict.words());
            Outcome::Fault(Fault::FetchRedirected, sentence)
        }
    };
    Ok((outcome, answer))
}

/// Whether caches and browsers are kept from keeping refusals.
pub fn refusal_headers(first: &First, to_a_script: &Answer) -> Outcome {
    let mut lacks = Vec::new();
    for (who, answer) in [("a browser", &first.answer), ("a script", to_a_script)] {
        if !answer.lists("cache-control", "no-store") {
            lacks.push(format!("the refusal of {who} has no `Cache-Control: no-store`"));
        }
        if !answer.lists("vary", COOKIE) && !answer.lists("vary", "*") {
            lacks.push(format!("the refusal of {who} has no `Vary: {COOKIE}`"));
        }
        if matches!(answer.status, 301 | 308) {
            lacks.push(format!("{who} is redirected by {}, which browsers keep for good", answer.status));
        }
    }
    if lacks.is_empty() {
        return Outcome::Ok("Refusals are kept by no cache.".into());
    }
    let sentence = format!("A browser or a cache may go on refusing after a login: {}.", lacks.join(", "));
    Outcome::Fault(Fault::RefusalHeaders, sentence)
}

/// Whether a client can say which page it asked for.
pub fn forwarded_headers(site: &Site) -> Result<Outcome, Problem> {
    let other_scheme = if site.page.scheme() == "https" { "http" } else { "https" };
    let evil = format!("https://{}.example/", site.nonce);
    let lies = [
        ("X-Forwarded-Host", &*format!("{}.example", site.nonce)),
        ("X-Forwarded-Proto", other_scheme),
        ("X-Forwarded-Uri", "/elsewhere"),
        ("X-Forwarded-Method", "POST"),
        ("X-Original-URL", &*evil),
        ("X-Original-Method", "POST"),
    ];
    let mut believed = Vec::new();
    for separator in ["-", "_", "."] {
        let lies = lies.map(|(name, value)| (name.replace('-', separator), value));
        if is_misled(site, &lies)? {
            // Which one it was.
            for lie in &lies {
                if is_misled(site, std::slice::from_ref(lie))? {
                    believed.push(format!("`{}`", lie.0));
                }
            }
            if believed.is_empty() {
                believed
                    .push(format!("several headers like `{}` together", "X-Forwarded-Host".replace('-', separator)));
            }
        }
    }
    if believed.is_empty() {
        return Ok(Outcome::Ok("What a client says in `X-Forwarded-…` changes nothing.".into()));
    }
    let sentence = format!("A client decides where people return to after a login, by {}.", believed.join(", "));
    Ok(Outcome::Fault(Fault::ForwardedBelieved, sentence))
}

/// Whether these headers of a client change where it is sent to. A request that is not answered as usual leads to no login.
fn is_misled(site: &Site, lies: &[(String, &str)]) -> Result<bool, Problem> {
    let url = site.fresh();
    let request = lies.iter().fold(navigation(url.clone()), |request, (name, value)| request.header(name, *value));
    let (verdict, _) = site.ask(&request)?;
    Ok(match verdict.login_page() {
        Some(to) => return_to(to).is_none_or(|back| back != url.as_str()),
        None => verdict == Verdict::Allowed,
    })
}

/// Whether the page is refused by other methods, too. None of them changes anything, should one reach the application.
pub fn methods(site: &Site) -> Result<Outcome, Problem> {
    let mut allowed = Vec::new();
    for method in SAFE_METHODS {
        let request = Request::new(method, site.fresh()).header("Accept", "*/*");
        if site.ask(&request)?.0 == Verdict::Allowed {
            allowed.push(format!("`{method}`"));
        }
    }
    if allowed.is_empty() {
        return Ok(Outcome::Ok("Without a session it is refused by other methods than GET as well.".into()));
    }
    let sentence = format!("Without a session the page is answered to requests by {}.", allowed.join(", "));
    Ok(Outcome::Fault(Fault::NotProtected, sentence))
}

/// Whether a client that has no session is let in for what it says of itself.
pub fn claims(site: &Site, spellings: &[Vec<(String, String)>]) -> Result<Outcome, Problem> {
    let token = "x".repeat(43);
    let credentials = [("X-User-Id", "x"), ("X-Auth-Token", &token), ("Authorization", &format!("Bearer {token}"))];
    let credentials = credentials.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let cookies = vec![("Cookie".to_owned(), format!("_me_sess={token}"))];
    let web_socket = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "c2Vzc2lvbmQgZG9jdG9yLg=="),
    ];
    let web_socket = web_socket.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    for lines in spellings.iter().chain([&credentials, &cookies, &web_socket]) {
        if !is_let_in(site, lines)? {
            continue;
        }
        let mut which = format!("several headers like `{}`", lines.first().map_or("", |(name, _)| name));
        for line in lines {
            if is_let_in(site, std::slice::from_ref(line))? {
                which = format!("`{}`", line.0);
                break;
            }
        }
        let sentence = format!("Without a session the page is answered 200 to a client that sends {which}.");
        return Ok(Outcome::Fault(Fault::ClaimsBelieved, sentence));
    }
    Ok(Outcome::Ok("Without a session nothing that a client says of itself lets it in.".into()))
}

/// Whether a client without a session is let in with these lines.
fn is_let_in(site: &Site, lines: &[(String, String)]) -> Result<bool, Problem> {
    let request = lines.iter().fold(fetch(site.fresh()), |request, (name, value)| request.header(name, value));
    Ok(site.ask(&request)?.0 == Verdict::Allowed)
}

/// The answer is another one than that to the same request before.
fn unlike_before(verdict: &Verdict) -> Outcome {
    Outcome::CannotTell(format!("Asked once more it is {}: try again.", verdict.words()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_address_is_wrong_in_the_first_part_that_differs() {
        let url = Url::parse("https://app.example:8443/app/?a=1&b=%26").expect("a URL");
        for (back, wanted) in [
            ("http://app.example:8443/app/?a=1&b=%26", Fault::SchemeLost),
            ("http://app.example/app/", Fault::SchemeLost),
            ("https://app.example/app/?a=1&b=%26", Fault::ReturnHost),
            ("https://10.0.0.3:8443/app/?a=1&b=%26", Fault::ReturnHost),
            ("https:///app/", Fault::ReturnHost),
            ("/app/?a=1&b=%26", Fault::ReturnHost),
            ("https://app.example:8443/app/?a=1", Fault::ReturnTarget),
            ("https://app.example:8443/app/?a=1&b=&", Fault::ReturnTarget),
        ] {
            let outcome = differs(&url, back);
            assert!(matches!(outcome, Outcome::Fault(fault, _) if fault == wanted), "{back}: {outcome:?}");
        }
    }
}
