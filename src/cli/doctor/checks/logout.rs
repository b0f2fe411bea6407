//! Logging in and out again: each counts at the very next request, and no answer to a check is kept.

use super::super::account::{Account, NoSession, Session};
use super::super::client::Problem;
use super::super::faults::Fault;
use super::super::findings::Outcome;
use super::super::site::{Site, Verdict, fetch};

/// How often somebody logs in and out: a cache may keep only what it was asked more than once.
const ROUNDS: usize = 3;

/// What is kept, or went wrong, in a round.
#[derive(Default)]
pub struct Rounds {
    kept: Option<Outcome>,
    failed: Option<Outcome>,
}

/// Asks for one URL before a login, after it, and after the logout, several times, until something is wrong.
pub fn rounds(site: &Site, account: &Account) -> Result<Rounds, NoSession> {
    let url = site.fresh();
    let ask = |cookie: Option<&str>| {
        let request = cookie.into_iter().fold(fetch(url.clone()), |request, cookie| request.header("Cookie", cookie));
        site.ask(&request).map(|(verdict, _)| verdict)
    };
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        if ask(None)? == Verdict::Allowed {
            let sentence = "Somebody without a session is let in where somebody with one was before: the answer to a check is kept.";
            rounds.keeps(Fault::AllowanceKept, sentence);
        }
        let session = account.log_in(&site.client, &[])?;
        let cookie = session.cookie();
        if ask(Some(&cookie))? != Verdict::Allowed {
            let sentence =
                "Somebody who was refused and then logged in is still refused: the refusal is kept somewhere.";
            rounds.keeps(Fault::RefusalKept, sentence);
        }
        let answer = account.log_out(&site.client, &session)?;
        let mut set = answer.all("set-cookie").filter_map(|line| cookie::Cookie::parse(line).ok());
        let is_cleared = set.any(|set| set.name() == session.set_cookie.name() && set.value().is_empty());
        let is_allowed = ask(Some(&cookie))? == Verdict::Allowed;
        if answer.status != 200 {
            rounds.fails(Fault::LogoutFails, format!("A logout is answered {}.", answer.status));
        } else if is_allowed && account.lives(&site.client, &session)? {
            rounds.fails(Fault::LogoutFails, "A logout is answered 200, and the session goes on.".into());
        } else if is_allowed {
            let sentence =
                "After a logout the very next request is still allowed: the answer to a check is kept somewhere.";
            rounds.keeps(Fault::AllowanceKept, sentence);
        } else if !is_cleared {
            let sentence =
                "A logout ends the session, but its answer does not clear the cookie: `Set-Cookie` is missing.";
            rounds.fails(Fault::CookieLost, sentence.into());
        }
        if rounds.kept.is_some() || rounds.failed.is_some() {
            break;
        }
    }
    Ok(rounds)
}

impl Rounds {
    fn keeps(&mut self, fault: Fault, sentence: &str) {
        self.kept.get_or_insert_with(|| Outcome::Fault(fault, sentence.into()));
    }

    fn fails(&mut self, fault: Fault, sentence: String) {
        self.failed.get_or_insert(Outcome::Fault(fault, sentence));
    }

    /// Whether logouts count.
    pub fn logout(&mut self) -> Outcome {
        let ok = || Outcome::Ok("After a logout the session is over, and the cookie is cleared.".into());
        self.failed.take().unwrap_or_else(ok)
    }

    /// Whether an answer to a check is kept: for the same person, or for another one.
    pub fn cache(&mut self, site: &Site, one: &Session, other: &Session) -> Result<Outcome, Problem> {
        if let Some(fault) = self.kept.take() {
            return Ok(fault);
        }
        let sentence = "Each login and each logout counts at the very next request";
        if !site.echoes {
            return Ok(Outcome::Ok(format!("{sentence}.")));
        }
        let url = site.fresh();
        let shown = |session: &Session| -> Result<String, Problem> {
            let (_, answer) = site.ask(&fetch(url.clone()).header("Cookie", session.cookie()))?;
            Ok(answer.text())
        };
        // The second one must not be taken for the first one.
        let (_, second) = (shown(one)?, shown(other)?);
        if second.contains(&one.id) {
            let sentence = "One person gets what is meant for another: the answer to a check, or the page itself, is kept and given to others.";
            return Ok(Outcome::Fault(Fault::AllowanceKept, sentence.into()));
        }
        Ok(Outcome::Ok(format!("{sentence}, and no session is taken for another.")))
    }
}
