//! The login page, a login, its cookie, and what the session says of itself.

use std::net::{IpAddr, UdpSocket};

use url::{Host, Url};

use super::super::account::{Account, NoSession, Session};
use super::super::client::{Problem, host, is_this_machine};
use super::super::faults::Fault;
use super::super::findings::Outcome;
use super::super::site::{Site, Verdict, bare, fetch, navigation};
use crate::cli::answer::Answer;

/// An address for documentation, which no client has (RFC 5737).
pub const SPOOFED_ADDRESS: &str = "203.0.113.66";

/// Whether the login page is shown. Its answer says whether browsers are told to stay with TLS.
pub fn login_page(site: &Site, login: &Url) -> Result<(Outcome, Answer), Problem> {
    let mut url = login.clone();
    url.set_path("/login");
    let (verdict, answer) = site.ask(&navigation(url.clone()))?;
    let shows_form = answer.text().contains("type=\"password\"");
    let outcome = match verdict {
        Verdict::Allowed if shows_form => Outcome::Ok(format!("The login page is shown at {}.", bare(&url))),
        Verdict::Other(426) => requires_https(),
        Verdict::ToLogin(_) | Verdict::Unauthorized => {
            let sentence = "The login page is protected itself, so that nobody gets in: it asks for a session.";
            Outcome::Fault(Fault::LoginPageProtected, sentence.into())
        }
        Verdict::Allowed | Verdict::Elsewhere(_) | Verdict::Nowhere(_) | Verdict::Failing(_) | Verdict::Other(_) => {
            let what =
                if verdict == Verdict::Allowed { "another page than sessiond's".into() } else { verdict.words() };
            Outcome::Fault(Fault::LoginPageMissing, format!("There is no login page at {}: {what}.", bare(&url)))
        }
    };
    Ok((outcome, answer))
}

/// The login page is out of reach.
pub fn no_login_page(login: &Url, problem: &Problem) -> Outcome {
    Outcome::Fault(Fault::LoginPageMissing, format!("There is no login page at {login}: {problem}."))
}

/// Whether a URL is on this machine, so that nothing goes over the network.
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_this_machine(name),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Why a password is not sent there, if it is not. `named`: the operator did name the place.
pub fn keeps_password(login: &Url, named: bool) -> Option<Outcome> {
    if login.scheme() == "https" || is_local(login) || named {
        return None;
    }
    Some(Outcome::CannotTell(format!(
        "The password was not sent, since it would go over the network in clear. To send it all the same, give `--login-url {login}`."
    )))
}

/// Why nobody is logged in.
pub fn not_logged_in(account: &Account, why: &NoSession) -> Outcome {
    let at = &account.login;
    match why {
        NoSession::Problem(problem) => Outcome::CannotTell(format!("Nobody can be logged in at {at}: {problem}.")),
        NoSession::Stranger(status) => {
            let sentence = format!("{at} answers a login with {status}, and not as sessiond does.");
            Outcome::Fault(Fault::LoginAbsent, sentence)
        }
        NoSession::NoCookie => {
            let sentence = "The login works, but its cookie does not arrive: there is no `Set-Cookie` with it.";
            Outcome::Fault(Fault::CookieLost, sentence.into())
        }
        NoSession::Refused(status, kind) => refused(*status, kind.as_deref().unwrap_or_default()),
    }
}

fn refused(status: u16, kind: &str) -> Outcome {
    match (status, kind) {
        (401, "second_factor_required_error") => {
            Outcome::CannotTell("This user needs a code to log in: give a user without a second factor.".into())
        }
        (401, _) => Outcome::Fault(Fault::LoginRefused, "The username or the password is wrong.".into()),
        (403, "password_change_required_error") => {
            Outcome::CannotTell("This user has to change the password first: log in once in a browser.".into())
        }
        (426, _) => requires_https(),
        (429, _) => Outcome::CannotTell("Too many logins were refused: wait, and try again.".into()),
        (status, _) => Outcome::Fault(Fault::LoginFails, format!("A login is answered {status}.")),
    }
}

fn requires_https() -> Outcome {
    let sentence = "sessiond requires https, and the proxy says that the client came without it (426).";
    Outcome::Fault(Fault::SchemeLost, sentence.into())
}

/// Whether the cookie has the attributes that keep it.
pub fn cookie_attributes(session: &Session, page: &Url) -> Outcome {
    let cookie = &session.set_cookie;
    let mut lacks = Vec::new();
    if cookie.secure() != Some(true) {
        lacks.push("no `Secure`, so that it also goes over the network in clear");
    }
    if cookie.http_only() != Some(true) {
        lacks.push("no `HttpOnly`, so that scripts can read it");
    }
    if cookie.same_site().is_none() {
        lacks.push("no `SameSite`, so that older browsers send it with requests of other sites");
    }
    if cookie.path() != Some("/") {
        lacks.push("another `Path` than `/`, so that it is not sent everywhere");
    }
    if cookie.secure() != Some(true) && page.scheme() == "http" && is_local(page) && lacks.len() == 1 {
        return Outcome::Note("The cookie has no `Secure`, which is right on this machine alone.".into());
    }
    if !lacks.is_empty() {
        return Outcome::Fault(Fault::CookieAttributes, format!("The session cookie has {}.", lacks.join(", and ")));
    }
    if cookie.same_site() == Some(cookie::SameSite::None) {
        let sentence = "The cookie is `SameSite=None`: it comes with requests of other sites, too.";
        return Outcome::Note(sentence.into());
    }
    Outcome::Ok("The session cookie is `Secure`, `HttpOnly` and `SameSite`, and its path is `/`.".into())
}

/// Whether a browser that got the cookie from `login` sends it to the page.
pub fn cookie_reach(cookie: &cookie::Cookie<'_>, login: &Url, page: &Url) -> Outcome {
    let (from, to) = (login.host_str().unwrap_or_default(), page.host_str().unwrap_or_default());
    let domain = cookie.domain().map(|domain| domain.trim_start_matches('.').to_lowercase());
    let is_below = |domain: &str| to == domain || to.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let sentence = match &domain {
        None if from != to => format!(
            "The session cookie is set for {from} alone and never sent to {to}: people who are logged in are sent to the login page and back without an end."
        ),
        Some(domain) if !is_below(domain) => {
            format!("The session cookie is set for {domain} and never sent to {to}: nobody gets in there.")
        }
        _ if cookie.secure() == Some(true) && page.scheme() == "http" && !is_local(page) => {
            format!("The session cookie is `Secure`, and browsers do not send it to http://{}.", host(page))
        }
        _ if !page.path().starts_with(cookie.path().unwrap_or("/")) => {
            format!(
                "The session cookie has the path {}, and browsers do not send it to this page.",
                cookie.path().unwrap_or("/")
            )
        }
        _ => return Outcome::Ok(format!("Browsers send the session cookie to {}.", host(page))),
    };
    Outcome::Fault(Fault::CookieOutOfReach, sentence)
}

/// Whether the page is allowed with the session.
pub fn session(site: &Site, session: &Session) -> Result<Outcome, Problem> {
    let with = |name: &str, value: String| site.ask(&fetch(site.fresh()).header(name, value));
    let (verdict, answer) = with("Cookie", session.cookie())?;
    let commit = |answer: &Answer| answer.header("x-api-commit").map(str::to_owned);
    match verdict {
        Verdict::Allowed if commit(&answer).is_some() && commit(&answer) == commit(&session.answered.answer) => {
            let sentence = "sessiond itself answers this page, and no application.";
            return Ok(Outcome::Fault(Fault::SessiondItself, sentence.into()));
        }
        Verdict::Allowed => return Ok(Outcome::Ok("With a session the page is answered.".into())),
        Verdict::ToLogin(_) | Verdict::Unauthorized => {}
        Verdict::Failing(status) => {
            let sentence = format!("With a session the page is answered {status}: the check or the application fails.");
            return Ok(Outcome::Fault(Fault::CheckFails, sentence));
        }
        Verdict::Elsewhere(_) | Verdict::Nowhere(_) | Verdict::Other(_) => {
            return Ok(Outcome::CannotTell(format!(
                "With a session the page is {}: give one that is answered 200 to {}.",
                verdict.words(),
                "somebody who is logged in"
            )));
        }
    }
    let (by_bearer, _) = with("Authorization", format!("Bearer {}", session.token.reveal()))?;
    Ok(if by_bearer == Verdict::Allowed {
        let sentence =
            "The check never sees a cookie: the session is allowed in `Authorization`, and refused in `Cookie`.";
        Outcome::Fault(Fault::CookieNotSeen, sentence.into())
    } else {
        let sentence = "The login works, and the page is refused all the same, by cookie and by `Authorization`.";
        Outcome::Fault(Fault::SessionRefused, sentence.into())
    })
}

/// Whether the login page leads back to the page.
pub fn way_back(site: &Site, session: &Session, login: &Url) -> Result<Outcome, Problem> {
    let mut url = login.clone();
    url.set_path("/login");
    let back = site.fresh();
    url.query_pairs_mut().append_pair("return_to", back.as_str());
    let answer = site.client.send(&navigation(url.clone()).header("Cookie", session.cookie()))?;
    let to = answer.header("location").and_then(|to| url.join(to).ok());
    Ok(match to {
        Some(to) if to == back => Outcome::Ok("After a login people return to the page.".into()),
        Some(to) => {
            let sentence = format!("After a login people do not return to the page: they are sent to {}.", bare(&to));
            Outcome::Fault(Fault::ReturnNotAllowed, sentence)
        }
        None if answer.status == 200 => {
            let sentence = "The login page does not lead back to the page of somebody who is logged in: it shows a page of its own.";
            Outcome::Fault(Fault::ReturnNotAllowed, sentence.into())
        }
        None => {
            Outcome::CannotTell(format!("The login page answers somebody who is logged in with {}.", answer.status))
        }
    })
}

/// Whether sessions know where their client is: `first` from a usual login, `second` from one that claimed to come from
/// [`SPOOFED_ADDRESS`].
pub fn client_address(first: &Session, second: &Session) -> Outcome {
    let address = |session: &Session| session.facts.ip.as_ref().and_then(|ip| ip.parse().ok());
    let ends = &first.answered;
    judge_addresses(address(first), address(second), ends.local, ends.peer, is_own)
}

/// Whether an address is one of this machine's.
fn is_own(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

fn judge_addresses(
    first: Option<IpAddr>,
    second: Option<IpAddr>,
    local: IpAddr,
    peer: IpAddr,
    is_own: impl FnOnce(IpAddr) -> bool,
) -> Outcome {
    let Some(seen) = first else { return Outcome::CannotTell("The session does not say where its client is.".into()) };
    if second.is_some_and(|second| second.to_string() == SPOOFED_ADDRESS) {
        return if local.is_loopback() {
            Outcome::CannotTell(format!(
                "A client on this machine can say that it comes from {SPOOFED_ADDRESS}, which is right where this machine is one of `trusted_proxies`. Run it on another machine to find out whether everybody can."
            ))
        } else {
            let sentence =
                format!("A client can say where it comes from: `X-Forwarded-For: {SPOOFED_ADDRESS}` was believed.");
            Outcome::Fault(Fault::AddressBelieved, sentence)
        };
    }
    if seen == local || !seen.is_loopback() && is_own(seen) {
        return Outcome::Ok(format!("A session knows where its client is ({seen}), and a client cannot change that."));
    }
    let of_proxy = seen.is_loopback() || seen == peer || is_private(seen) && !is_private(peer);
    if of_proxy && !peer.is_loopback() {
        let sentence =
            format!("Sessions have the address {seen}, which is not this client's: everybody has the proxy's.");
        return Outcome::Fault(Fault::AddressOfProxy, sentence);
    }
    Outcome::CannotTell(format!(
        "Sessions have the address {seen}. If that is not where this machine is seen from, everybody has the proxy's: set `trusted_proxies`, without which wrong passwords are not limited by address either."
    ))
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn is_fault(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Fault(..))
    }

    #[test]
    fn a_cookie_reaches_the_hosts_that_browsers_send_it_to() {
        for (line, login, page, reaches) in [
            ("s=1; Path=/", "https://a.example", "https://a.example/app/", true),
            ("s=1; Path=/", "https://a.example", "https://b.example/app/", false),
            ("s=1; Path=/", "https://example", "https://app.example/", false),
            ("s=1; Path=/; Domain=example.com", "https://auth.example.com", "https://app.example.com/", true),
            ("s=1; Path=/; Domain=.example.com", "https://auth.example.com", "https://example.com/", true),
            ("s=1; Path=/; Domain=example.com", "https://auth.example.com", "https://badexample.com/", false),
            ("s=1; Path=/; Domain=auth.example.com", "https://auth.example.com", "https://app.example.com/", false),
            ("s=1; Path=/; Secure", "http://a.example", "http://a.example/", false),
            ("s=1; Path=/; Secure", "http://localhost:8000", "http://localhost:8000/app/", true),
            ("s=1; Path=/api", "https://a.example", "https://a.example/app/", false),
        ] {
            let cookie = cookie::Cookie::parse(line).expect("a cookie");
            let outcome = cookie_reach(&cookie, &url(login), &url(page));
            assert_eq!(!is_fault(&outcome), reaches, "{line} {page}: {outcome:?}");
        }
    }

    #[test]
    fn the_address_of_a_session_is_held_against_both_ends_of_the_connection() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        for (seen, spoofed, local, peer, wanted) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.7", "198.51.100.1", "ok"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1", "127.0.0.1", "ok"),
            ("192.0.2.7", SPOOFED_ADDRESS, "192.0.2.7", "198.51.100.1", "believed"),
            ("127.0.0.1", SPOOFED_ADDRESS, "127.0.0.1", "127.0.0.1", "cannot tell"),
            ("127.0.0.1", "127.0.0.1", "192.168.1.5", "192.168.1.1", "of the proxy"),
            ("172.17.0.2", "172.17.0.2", "192.168.1.5", "198.51.100.1", "of the proxy"),
            ("198.51.100.1", "198.51.100.1", "192.168.1.5", "198.51.100.1", "of the proxy"),
            // The machine's other address, and one behind a router that translates addresses.
            ("192.168.1.77", "192.168.1.77", "127.0.0.1", "127.0.0.1", "ok"),
            ("192.0.2.9", "192.0.2.9", "192.168.1.5", "198.51.100.1", "cannot tell"),
        ] {
            let outcome = judge_addresses(Some(ip(seen)), Some(ip(spoofed)), ip(local), ip(peer), |ip| {
                ip.to_string() == "192.168.1.77"
            });
            let fits = match &outcome {
                Outcome::Ok(_) => wanted == "ok",
                Outcome::CannotTell(_) => wanted == "cannot tell",
                Outcome::Fault(Fault::AddressBelieved, _) => wanted == "believed",
                Outcome::Fault(Fault::AddressOfProxy, _) => wanted == "of the proxy",
                Outcome::Fault(..) | Outcome::Note(_) => false,
            };
            assert!(fits, "{seen} {spoofed} {local} {peer}: {outcome:?}");
        }
    }

    #[test]
    fn a_password_is_kept_from_a_network_without_tls() {
        for (login, named, sent) in [
            ("https://auth.example/", false, true),
            ("http://auth.localhost:8000/", false, true),
            ("http://127.0.0.1/", false, true),
            ("http://[::1]:8000/", false, true),
            ("http://app.example/", false, false),
            ("http://app.example/", true, true),
        ] {
            assert_eq!(keeps_password(&url(login), named).is_none(), sent, "{login}");
        }
    }
}
