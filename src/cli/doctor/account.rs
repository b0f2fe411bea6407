//! Somebody who logs in for the checks, and every session that was begun so, until it is ended.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use url::Url;
use zeroize::Zeroizing;

use super::client::{Answered, Client, Problem, Request};
use crate::cli::answer::Answer;
use crate::domain::clock::{Clock as _, SystemClock, Timestamp};
use crate::domain::token::Token;

const LOGIN: &str = "/api/v1/auth/login";
const LOGOUT: &str = "/api/v1/auth/logout";
const SESSION: &str = "/api/v1/auth/session";
const SESSIONS: &str = "/api/v1/auth/sessions/";

/// Somebody who may log in.
pub struct Account {
    /// Where: scheme, host and port. The password is sent nowhere else.
    pub login: Url,
    username: String,
    password: Zeroizing<String>,
    begun: RefCell<Vec<Begun>>,
}

/// A session that has to be ended. Without its token, another session of the same user has to.
struct Begun {
    id: String,
    token: Option<Token>,
}

/// A session that was begun by a login.
pub struct Session {
    /// Its secret.
    pub token: Token,
    /// Its public id.
    pub id: String,
    /// The user's id.
    pub user_id: String,
    /// Its times, and where its client was.
    pub facts: Facts,
    /// The cookie as the answer set it.
    pub set_cookie: cookie::Cookie<'static>,
    /// What the own clock said then.
    pub at: Timestamp,
    /// The answer that it came with, and the addresses of that connection.
    pub answered: Answered,
}

impl Session {
    /// The cookie as a browser sends it.
    pub fn cookie(&self) -> String {
        format!("{}={}", self.set_cookie.name(), self.token.reveal())
    }
}

/// What sessiond says of a session.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    /// When it began.
    pub created_at: String,
    /// When it ends at the latest.
    pub expires_at: String,
    /// When it ends unless it is used.
    pub idle_expires_at: String,
    /// Where its client was.
    pub ip: Option<String>,
}

/// Why nobody is logged in.
#[derive(Debug)]
pub enum NoSession {
    /// There is no answer.
    Problem(Problem),
    /// An answer that is no success, with the type of its error.
    Refused(u16, Option<String>),
    /// What answers is not sessiond.
    Stranger(u16),
    /// It worked, but the cookie did not arrive.
    NoCookie,
}

impl From<Problem> for NoSession {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

#[derive(Serialize)]
struct Credentials<'c> {
    username: &'c str,
    password: &'c str,
    transport: &'static str,
}

#[derive(Deserialize)]
struct LoggedIn {
    user: Id,
    session: IdAndFacts,
    token: Option<String>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct IdAndFacts {
    id: String,
    #[serde(flatten)]
    facts: Facts,
}

#[derive(Deserialize)]
struct Refusal {
    r#type: String,
}

impl Account {
    /// One that has not logged in yet.
    pub fn new(login: Url, username: String, password: Zeroizing<String>) -> Self {
        Self { login, username, password, begun: RefCell::default() }
    }

    /// Logs in, with these header lines beside the usual ones. The cookie is not kept: each session is used where it is
    /// meant to be.
    pub fn log_in(&self, client: &Client, lines: &[(&str, &str)]) -> Result<Session, NoSession> {
        let request = self.request("cookie")?;
        let request = lines.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answered = client.exchange(&request)?;
        let at = SystemClock.now();
        let LoggedIn { user, session, .. } = logged_in(&answered.answer)?;
        let found = answered.answer.all("set-cookie").find_map(|line| {
            let cookie = cookie::Cookie::parse(line.to_owned()).ok()?;
            Some((Token::parse(cookie.value().as_bytes())?, cookie))
        });
        let token = found.as_ref().map(|(token, _)| token.clone());
        self.begun.borrow_mut().push(Begun { id: session.id.clone(), token });
        let (token, set_cookie) = found.ok_or(NoSession::NoCookie)?;
        Ok(Session { token, id: session.id, user_id: user.id, facts: session.facts, set_cookie, at, answered })
    }

    /// Logs out as a browser does.
    pub fn log_out(&self, client: &Client, session: &Session) -> Result<Answer, Problem> {
        client.send(&Request::new("POST", self.url_of(LOGOUT)).header("Cookie", session.cookie()))
    }

    /// Whether sessiond says that a session is alive.
    pub fn lives(&self, client: &Client, session: &Session) -> Result<bool, Problem> {
        Ok(client.send(&Request::new("GET", self.url_of(SESSION)).header("Cookie", session.cookie()))?.status == 200)
    }

    /// Ends every session that was begun, also after the run was stopped. Returns the ids of those that could not be ended.
    pub fn end_all(&self, client: &Client) -> Vec<String> {
        let mut left = Vec::new();
        for Begun { id, token } in self.begun.take() {
            let is_over = match token {
                Some(token) => self.end_session(client, &id, &token),
                None => self.end_by_another(client, &id).unwrap_or(false),
            };
            if !is_over {
                left.push(id);
            }
        }
        left
    }

    /// Ends a session by its own token, in either way. True: sessiond says that it is over.
    fn end_session(&self, client: &Client, id: &str, token: &Token) -> bool {
        let ways = [("DELETE", format!("{SESSIONS}{id}")), ("POST", LOGOUT.to_owned())];
        ways.into_iter().any(|(method, path)| {
            self.ask_at_the_end(client, method, &path, token);
            self.ask_at_the_end(client, "GET", SESSION, token) == Some(401)
        })
    }

    /// Ends a session whose token did not arrive, by one whose token comes in the answer's body.
    fn end_by_another(&self, client: &Client, id: &str) -> Option<bool> {
        let answered = client.send_at_the_end(&self.request("token").ok()?).ok()?;
        let LoggedIn { session, token, .. } = logged_in(&answered.answer).ok()?;
        let token = Token::parse(token?.as_bytes())?;
        let status = self.ask_at_the_end(client, "DELETE", &format!("{SESSIONS}{id}"), &token);
        Some(self.end_session(client, &session.id, &token) && matches!(status, Some(200 | 404)))
    }

    /// The status of an answer to a request with this token.
    fn ask_at_the_end(&self, client: &Client, method: &'static str, path: &str, token: &Token) -> Option<u16> {
        let request = Request::new(method, self.url_of(path));
        let request = request.header("Authorization", format!("Bearer {}", token.reveal()));
        client.send_at_the_end(&request).ok().map(|answered| answered.answer.status)
    }

    fn request(&self, transport: &'static str) -> Result<Request, NoSession> {
        let credentials = Credentials { username: &self.username, password: &self.password, transport };
        let body = serde_json::to_string(&credentials).map_err(|error| Problem::Broken(error.into()))?;
        let request = Request::new("POST", self.url_of(LOGIN)).header("Accept", "application/json");
        Ok(request.json(Zeroizing::new(body)))
    }

    fn url_of(&self, path: &str) -> Url {
        let mut url = self.login.clone();
        url.set_path(path);
        url
    }
}

fn logged_in(answer: &Answer) -> Result<LoggedIn, NoSession> {
    if answer.status == 200 {
        return answer.json().ok_or(NoSession::Stranger(200));
    }
    match answer.json::<Refusal>() {
        Some(refusal) => Err(NoSession::Refused(answer.status, Some(refusal.r#type))),
        None if matches!(answer.status, 404 | 405) => Err(NoSession::Stranger(answer.status)),
        None => Err(NoSession::Refused(answer.status, None)),
    }
}
