//! With a session: the application learns from sessiond, and from no client, who is calling.

use super::super::account::Session;
use super::super::client::Problem;
use super::super::faults::Fault;
use super::super::findings::Outcome;
use super::super::site::{Site, Verdict, fetch};

/// The headers in which the application is told who is calling.
const IDENTITY: [&str; 6] =
    ["Remote-User", "Remote-User-Id", "Remote-Name", "Remote-Email", "Remote-Groups", "Remote-Session-Id"];
/// What many back ends take for a dash.
const SEPARATORS: [&str; 3] = ["-", "_", "."];
/// How to find out what cannot be seen.
const HOW: &str = "To find out, give the URL of a page behind the same rule of the proxy that prints the headers it was sent, and `--backend-echo`.";

/// Header lines of a client that says who it is, each with a value of its own; a request for each spelling, and one more
/// with every line twice.
pub fn spellings(nonce: &str) -> Vec<Vec<(String, String)>> {
    let mixed = |name: &str| match name.matches('-').count() {
        1 => name.replace('-', "_").to_uppercase(),
        _ => name.replacen('-', "_", 1).to_lowercase(),
    };
    let also_mixed = |name: &str| match name.matches('-').count() {
        1 => name.to_lowercase(),
        _ => name.replacen('-', ".", 1),
    };
    let spelled = SEPARATORS.map(|separator| IDENTITY.map(|name| name.replace('-', separator)));
    let spelled = spelled.into_iter().chain([IDENTITY.map(mixed), IDENTITY.map(also_mixed)]);
    let mut number = 0;
    let mut value = |name: String| {
        number += 1;
        // Its end is a letter, so that none is the beginning of another.
        (name, format!("claim{nonce}n{number}z"))
    };
    let mut requests = Vec::new();
    for names in spelled {
        requests.push(names.clone().map(&mut value).to_vec());
        requests.push(names.into_iter().flat_map(|name| [name.clone(), name]).map(&mut value).collect());
    }
    requests
}

/// Whether the application gets what sessiond says, whole, and nothing that a client says.
pub fn identity_headers(site: &Site, session: &Session) -> Result<Outcome, Problem> {
    if !site.echoes {
        let sentence = "A client without a session is not let in, whatever it says. Whether the application can take one with a session for somebody else is not seen from here.";
        return Ok(Outcome::CannotTell(format!("{sentence} {HOW}")));
    }
    let Some(usual) = echo(site, session, &[])? else { return Ok(not_shown()) };
    let mut passed = Vec::new();
    let mut vanished = None;
    for lines in spellings(&site.nonce) {
        // What is refused cannot be misunderstood.
        let Some(shown) = echo(site, session, &lines)? else { continue };
        let got_through = lines.iter().filter(|(_, value)| shown.contains(value)).map(|(name, _)| format!("`{name}`"));
        for name in got_through {
            if !passed.iter().any(|other: &String| other.eq_ignore_ascii_case(&name)) {
                passed.push(name);
            }
        }
        if !shown.contains(&session.id) && usual.contains(&session.id) {
            vanished.get_or_insert_with(|| {
                format!("it sends headers like `{}`", lines.first().map_or("", |(name, _)| name))
            });
        }
    }
    if !passed.is_empty() {
        let sentence = format!(
            "The application can take a client for somebody else: what a client itself sends in {} arrives there.",
            passed.join(", ")
        );
        return Ok(Outcome::Fault(Fault::IdentitySpoofed, sentence));
    }
    if usual.contains(&session.id) {
        for name in IDENTITY {
            let Some(shown) = echo(site, session, &[("Connection".into(), format!("close, {name}"))])? else {
                continue;
            };
            if missing(&shown, session).len() > missing(&usual, session).len() {
                vanished.get_or_insert_with(|| format!("it sends `Connection: {name}`"));
            }
        }
    }
    if let Some(how) = vanished {
        let sentence = format!(
            "A client can keep from the application who is calling: what sessiond said does not arrive where {how}."
        );
        return Ok(Outcome::Fault(Fault::IdentityVanishes, sentence));
    }
    let missing = missing(&usual, session);
    if !missing.is_empty() {
        let sentence =
            format!("The application does not learn who is calling: what is missing is {}.", missing.join(", "));
        return Ok(Outcome::Fault(Fault::IdentityIncomplete, sentence));
    }
    Ok(Outcome::Ok(
        "Six headers say to the application who is calling, and a client can neither set nor remove one.".into(),
    ))
}

/// Which of the six the application did not show. Two are known by their values, the others by their names.
fn missing(shown: &str, session: &Session) -> Vec<String> {
    // However the application writes a name: `HTTP_REMOTE_USER`, `remote-user`.
    let shown_names = shown.to_lowercase().replace(['_', '.'], "-");
    let is_named = |name: &str| {
        let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || c == '-');
        shown_names.match_indices(name).any(|(at, _)| !shown_names.get(at + name.len()..).is_some_and(goes_on))
    };
    let is_there = |name: &&str| match *name {
        "Remote-User-Id" => shown.contains(&session.user_id),
        "Remote-Session-Id" => shown.contains(&session.id),
        name => is_named(&name.to_lowercase()),
    };
    IDENTITY.iter().filter(|name| !is_there(name)).map(|name| format!("`{name}`")).collect()
}

/// What the application shows of a request with a session and these lines. `None`: it was not asked.
fn echo(site: &Site, session: &Session, lines: &[(String, String)]) -> Result<Option<String>, Problem> {
    let request = fetch(site.fresh()).header("Cookie", session.cookie());
    let request = lines.iter().fold(request, |request, (name, value)| request.header(name, value));
    let (verdict, answer) = site.ask(&request)?;
    Ok(matches!(verdict, Verdict::Allowed).then(|| answer.text()))
}

/// Whether the page shows what it was sent.
pub fn shows_headers(site: &Site, session: &Session) -> Result<bool, Problem> {
    let probe = format!("probe{}", site.nonce);
    let shown = echo(site, session, &[("X-Sessiond-Doctor".into(), probe.clone())])?;
    Ok(shown.is_some_and(|shown| shown.contains(&probe)))
}

/// The words where a page does not show what the operator says that it shows.
pub fn not_shown() -> Outcome {
    Outcome::CannotTell(format!("The page does not show the headers that it was sent, as `--backend-echo` says. {HOW}"))
}

/// Whether the application gets the session cookie.
pub fn back_end_cookie(site: &Site, session: &Session) -> Result<Outcome, Problem> {
    if !site.echoes {
        return Ok(Outcome::CannotTell(format!(
            "Whether the application gets the session cookie is not seen from here. {HOW}"
        )));
    }
    let shown = echo(site, session, &[])?.unwrap_or_default();
    Ok(if shown.contains(session.token.reveal()) {
        let sentence = "The application gets the session cookie, and so do its logs and its scripts on the server. Unless it calls sessiond itself it needs none: the examples say under `Choice:` how to remove it.";
        Outcome::Note(sentence.into())
    } else {
        Outcome::Ok("The application does not get the session cookie.".into())
    })
}

/// Whether the page is allowed beside the cookies of other applications.
pub fn other_cookies(site: &Site, session: &Session) -> Result<Outcome, Problem> {
    const EACH: usize = 5 * 1024;
    let other = |number: usize| format!("doctor{number}={}", "o".repeat(EACH));
    let cookies = [other(1), other(2), session.cookie(), other(3), other(4)].join("; ");
    let (verdict, _) = site.ask(&fetch(site.fresh()).header("Cookie", cookies))?;
    Ok(if verdict == Verdict::Allowed {
        Outcome::Ok("20 KiB of cookies of other applications do no harm.".into())
    } else {
        let sentence = format!("With 20 KiB of cookies of other applications the page is {}.", verdict.words());
        Outcome::Fault(Fault::OtherCookies, sentence)
    })
}
