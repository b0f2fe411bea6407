//! Which checks are made, and in which order: each only where what it builds on is known.

use std::io::{self, Write};

use url::Url;
use zeroize::Zeroizing;

use super::account::{Account, NoSession, Session};
use super::checks::login::SPOOFED_ADDRESS;
use super::checks::{identity, login, logout, network, refusals, times};
use super::client::Problem;
use super::faults::Fault;
use super::findings::{Check, Outcome, Report};
use super::site::{Site, root};

/// What is examined, by whom, and where that is written down.
pub struct Examination<W> {
    /// The page.
    pub site: Site,
    /// Where to log in, if the operator named it.
    pub login: Option<Url>,
    /// Whether the operator says that the page shows the headers that it was sent.
    pub promised_echo: bool,
    /// Who logs in.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// What is found.
    pub report: Report<W>,
}

/// Why an examination ends before its end.
#[derive(Debug)]
pub enum Ended {
    /// What is found cannot be written.
    Io(io::Error),
    /// No more requests may be sent.
    Client(Problem),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Why the checks that were left out were left out.
type Why = &'static str;

const COMPLETE: Why = "They build on what is at fault above.";
const NO_REFUSAL: Why = "They need a page that is refused without a session: mend the fault, and try again.";
const NO_ACCOUNT: Why = "They need somebody who logs in: give `--username`.";
const NO_LOGIN: Why = "They need a session: mend the fault, and try again.";

impl<W: Write> Examination<W> {
    /// Makes every check that can be made. Returns why the others were left out.
    pub fn run(&mut self) -> Result<Why, Ended> {
        let first = match refusals::reached(&mut self.site) {
            Ok((outcome, first)) => {
                self.add(Check::Reached, &outcome)?;
                first
            }
            Err(outcome) => {
                self.add(Check::Reached, &outcome)?;
                return Ok(NO_REFUSAL);
            }
        };
        let protected = refusals::protected(&first);
        self.add(Check::Protected, &protected)?;
        if !matches!(protected, Outcome::Ok(_)) {
            return Ok(NO_REFUSAL);
        }
        self.add(Check::Navigation, &refusals::sent_to_login(&first))?;
        let led_to = first.verdict.login_page().map(root);
        let mut return_is_right = false;
        if led_to.is_some() {
            let outcome = refusals::return_address(&self.site);
            if let Ok(kept @ Outcome::Fault(Fault::RefusalKept, _)) = &outcome {
                self.add(Check::Cache, kept)?;
                return Ok(NO_REFUSAL);
            }
            return_is_right = self.record(Check::ReturnAddress, outcome)?;
        }
        if let Some(to_a_script) = self.record_and_keep(Check::Fetch, refusals::to_a_script(&self.site))? {
            self.add(Check::RefusalHeaders, &refusals::refusal_headers(&first, &to_a_script))?;
        }
        // Without a right one there is nothing that could be changed.
        if return_is_right {
            self.record(Check::ForwardedHeaders, refusals::forwarded_headers(&self.site))?;
        }
        self.record(Check::Methods, refusals::methods(&self.site))?;
        let spellings = identity::spellings(&self.site.nonce);
        self.record(Check::Claims, refusals::claims(&self.site, &spellings))?;

        let named = self.login.clone();
        let login = named.clone().or(led_to).unwrap_or_else(|| root(&self.site.page));
        let page = match login::login_page(&self.site, &login) {
            Err(problem @ (Problem::Name(..) | Problem::Connection(..) | Problem::Tls(_))) => {
                self.add(Check::LoginPage, &login::no_login_page(&login, &problem))?;
                return Ok(NO_LOGIN);
            }
            page => page,
        };
        // Then a login is refused, too, whatever the password is.
        let is_closed = matches!(page, Ok((Outcome::Fault(Fault::LoginPageProtected | Fault::SchemeLost, _), _)));
        let Some(at_login) = self.record_and_keep(Check::LoginPage, page)? else { return Ok(NO_LOGIN) };
        self.add(Check::Encryption, &network::encryption(&self.site, &login, &at_login))?;
        self.record(Check::Builds, network::builds(&self.site, &login))?;
        let Some((username, password)) = self.credentials.take() else { return Ok(NO_ACCOUNT) };
        if is_closed {
            return Ok(NO_LOGIN);
        }
        if let Some(kept) = login::keeps_password(&login, named.is_some()) {
            self.add(Check::Login, &kept)?;
            return Ok(NO_LOGIN);
        }
        let account = Account::new(login, username, password);
        let result = self.examine_as(&account);
        let left = account.end_all(&self.site.client);
        let outcome = if left.is_empty() {
            Outcome::Ok("Every session that was begun is over.".into())
        } else {
            Outcome::Fault(Fault::LeftBehind, format!("These sessions could not be ended: {}.", left.join(", ")))
        };
        self.add(Check::CleanUp, &outcome)?;
        result
    }

    /// Makes the checks that somebody has to log in for.
    fn examine_as(&mut self, account: &Account) -> Result<Why, Ended> {
        let one = match account.log_in(&self.site.client, &[]) {
            Ok(session) => session,
            Err(why) => return self.no_login(account, why),
        };
        self.add(Check::Login, &Outcome::Ok(format!("Somebody is logged in at {}.", account.login)))?;
        self.add(Check::Clock, &times::clock(&one))?;
        self.add(Check::Lifetimes, &times::lifetimes(&one))?;
        self.add(Check::CookieAttributes, &login::cookie_attributes(&one, &self.site.page))?;
        let reach = login::cookie_reach(&one.set_cookie, &account.login, &self.site.page);
        self.add(Check::CookieReach, &reach)?;
        // What browsers do not send there is not sent there from here either.
        if !matches!(reach, Outcome::Ok(_)) {
            return Ok(NO_LOGIN);
        }
        if !self.record(Check::Session, login::session(&self.site, &one))? {
            return Ok(NO_LOGIN);
        }
        self.record(Check::WayBack, login::way_back(&self.site, &one, &account.login))?;
        self.back_end(&one)?;
        self.record(Check::OtherCookies, identity::other_cookies(&self.site, &one))?;
        let other = match account.log_in(&self.site.client, &[("X-Forwarded-For", SPOOFED_ADDRESS)]) {
            Ok(session) => session,
            Err(why) => return self.no_more_logins(Check::ClientAddress, account, why),
        };
        self.add(Check::ClientAddress, &login::client_address(&one, &other))?;
        let mut rounds = match logout::rounds(&self.site, account) {
            Ok(rounds) => rounds,
            Err(why) => return self.no_more_logins(Check::Cache, account, why),
        };
        let cache = rounds.cache(&self.site, &one, &other);
        self.record(Check::Cache, cache)?;
        self.add(Check::Logout, &rounds.logout())?;
        Ok(COMPLETE)
    }

    /// Makes the checks of what the application is sent.
    fn back_end(&mut self, session: &Session) -> Result<(), Ended> {
        match identity::shows_headers(&self.site, session) {
            Ok(shows) => self.site.echoes = shows,
            Err(problem) => return self.record(Check::IdentityHeaders, Err(problem)).map(drop),
        }
        if self.promised_echo && !self.site.echoes {
            self.add(Check::IdentityHeaders, &identity::not_shown())?;
            return self.add(Check::BackendCookie, &identity::not_shown());
        }
        self.record(Check::IdentityHeaders, identity::identity_headers(&self.site, session))?;
        self.record(Check::BackendCookie, identity::back_end_cookie(&self.site, session)).map(drop)
    }

    fn no_login(&mut self, account: &Account, why: NoSession) -> Result<Why, Ended> {
        if let NoSession::Problem(problem) = why {
            self.record(Check::Login, Err(problem))?;
        } else {
            self.add(Check::Login, &login::not_logged_in(account, &why))?;
        }
        Ok(NO_LOGIN)
    }

    /// After a login that worked, another one may be refused for what limits logins.
    fn no_more_logins(&mut self, check: Check, account: &Account, why: NoSession) -> Result<Why, Ended> {
        if !matches!(why, NoSession::Refused(429 | 503, _)) {
            return self.no_login(account, why);
        }
        let sentence = "More than one login is needed, and the next one was refused: if something limits them, wait, and try again.";
        self.add(check, &Outcome::CannotTell(sentence.into()))?;
        Ok(NO_LOGIN)
    }

    fn add(&mut self, check: Check, outcome: &Outcome) -> Result<(), Ended> {
        Ok(self.report.add(check, outcome)?)
    }

    /// Writes down what a check found. True: nothing is wrong.
    fn record(&mut self, check: Check, tried: Result<Outcome, Problem>) -> Result<bool, Ended> {
        let judged = tried.map(|outcome| {
            let is_fit = matches!(outcome, Outcome::Ok(_) | Outcome::Note(_));
            (outcome, is_fit)
        });
        Ok(self.record_and_keep(check, judged)?.unwrap_or(false))
    }

    /// The same, and returns what else it learned.
    fn record_and_keep<T>(&mut self, check: Check, tried: Result<(Outcome, T), Problem>) -> Result<Option<T>, Ended> {
        match tried {
            Ok((outcome, learned)) => {
                self.add(check, &outcome)?;
                Ok(Some(learned))
            }
            Err(problem @ (Problem::Stopped | Problem::TooMany)) => Err(Ended::Client(problem)),
            Err(problem) => {
                self.add(check, &Outcome::CannotTell(format!("The connection failed in between: {problem}.")))?;
                Ok(None)
            }
        }
    }
}
