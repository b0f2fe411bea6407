//! The history of a run: operations on sessions, by many clients at the same time, with their answers.

use sessiond_support::token::Id;

/// Nanoseconds since the run began, on the one monotonic clock of this process.
pub type Time = u64;

/// A session by its place in [`History::sessions`]; or rather one of its tokens: a session that is given another token,
/// with its password, is another one here, of the same id.
pub type Session = u32;

/// From before something was asked until after it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub begin: Time,
    pub end: Time,
}

/// Everything that was asked and answered, in no order.
#[derive(Default)]
pub struct History {
    pub sessions: Vec<Created>,
    pub operations: Vec<Operation>,
    /// By user, how many more sessions there may be: those of which no client knows.
    pub strays: Vec<u32>,
}

/// A session that was known before any client used it.
#[derive(Clone)]
pub struct Created {
    pub user: u16,
    pub id: Id,
    pub span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `GET /verify`
    Check,
    /// `GET /api/v1/auth/session`
    Show,
    /// `GET /api/v1/auth/sessions`
    List,
    /// `POST /api/v1/auth/logout`
    Logout,
    /// `DELETE /api/v1/auth/sessions/{id}`
    RevokeOne,
    /// `DELETE /api/v1/auth/sessions?scope=others`
    RevokeOthers,
    /// `DELETE /api/v1/auth/sessions?scope=all`
    RevokeAll,
    /// `POST /api/v1/auth/password`
    Password,
    /// `POST /api/v1/auth/login`
    Login,
}

/// One request and its outcome.
#[derive(Clone, Debug)]
pub struct Operation {
    pub kind: Kind,
    /// The server that was asked, and over which connection.
    pub replica: u8,
    pub connection: u16,
    pub span: Span,
    /// None where no whole answer came.
    pub status: Option<u16>,
    /// The user who asked.
    pub user: u16,
    /// The session it was asked through; none for a login that made none.
    pub session: Option<Session>,
    /// The session to be ended, by its id; or the one that goes on under the token that came with a new password.
    pub target: Option<Session>,
    pub content: Content,
}

/// The content of an answer beyond its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Nothing,
    /// That a session stands for another one.
    SomebodyElse,
    /// How many sessions ended.
    Revoked(u32),
    /// Which sessions are live.
    Listed(Box<[Id]>),
}

impl Operation {
    pub fn succeeded(&self) -> bool {
        self.status == Some(200)
    }

    /// Whether it is unknown if it happened: no answer, or one that does not say.
    pub fn unknown(&self) -> bool {
        self.status.is_none_or(|status| status >= 500)
    }

    /// Whether its answer says that the session it was asked through is not live. That of a password does not: the
    /// password may have been the reason.
    pub fn refused(&self) -> bool {
        self.status == Some(401) && !matches!(self.kind, Kind::Password | Kind::Login)
    }

    /// Whether its answer says that the session it was asked through is live.
    pub fn accepted(&self) -> bool {
        self.succeeded() || (self.kind == Kind::RevokeOne && self.status == Some(404))
    }

    /// Whether the answer is one that this operation may have.
    pub fn expected(&self) -> bool {
        let not_found = self.kind == Kind::RevokeOne && self.status == Some(404);
        // A try that must wait changes nothing.
        let throttled = matches!(self.kind, Kind::Login | Kind::Password) && self.status == Some(429);
        throttled || self.unknown() || self.succeeded() || self.status == Some(401) || not_found
    }

    /// The session that it ended or may have ended, and no other.
    pub fn ends(&self) -> Option<Session> {
        let session = match self.kind {
            Kind::Logout => self.session,
            Kind::RevokeOne => self.target,
            Kind::Check | Kind::Show | Kind::List | Kind::Login => None,
            Kind::RevokeOthers | Kind::RevokeAll | Kind::Password => None,
        };
        session.filter(|_| self.succeeded() || self.unknown())
    }

    /// Whether it ended or may have ended every session of its user, and which it spared.
    pub fn ends_many(&self) -> Option<Option<Session>> {
        let spared = match self.kind {
            Kind::RevokeAll => None,
            Kind::RevokeOthers => self.session,
            // What it was asked through goes on under another token.
            Kind::Password => self.target,
            Kind::Check | Kind::Show | Kind::List | Kind::Logout | Kind::RevokeOne | Kind::Login => return None,
        };
        (self.succeeded() || self.unknown()).then_some(spared)
    }
}
