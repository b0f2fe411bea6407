//! One connection, over which requests of many visitors leave on schedule; each answer is held to what is known.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sessiond_support::http::Connection;
use sessiond_support::random::Random;
use sessiond_support::token::made_up;

use crate::clock::Clock;
use crate::knowledge::{Expected, Knowledge, Session, State};
use crate::requests::{self, PASSWORD};
use crate::troubles::Troubles;

/// What is answered where the store refuses, has no room or takes too long, the first by Medama's route: whether something was
/// done is unknown.
const FAILED: [u16; 4] = [500, 502, 503, 504];
/// Of so many logins one is of somebody who never comes back.
const NEVER_BACK: usize = 5;
/// Names that wrong passwords are tried for.
const STRANGERS: usize = 500;

/// What all connections share.
pub struct Scene {
    pub address: SocketAddr,
    pub clock: Clock,
    pub knowledge: Knowledge,
    pub accounts: Vec<String>,
    pub troubles: Troubles,
    /// Requests yet to be sent.
    pub left: Cell<u64>,
    /// Changes that failed though nothing was wrong with the disk.
    pub failed: Cell<u64>,
    pub tally: RefCell<Tally>,
}

/// How often requests of each kind were answered how.
#[derive(Default)]
pub struct Tally(pub BTreeMap<(&'static str, u16), u64>);

impl Scene {
    fn next(&self) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0
    }

    fn count(&self, kind: &'static str, status: u16) {
        *self.tally.borrow_mut().0.entry((kind, status)).or_default() += 1;
    }
}

impl Tally {
    /// One line.
    pub fn text(&self) -> String {
        let counts = self.0.iter().map(|((kind, status), count)| format!("{kind} {status}: {count}"));
        counts.collect::<Vec<_>>().join(", ")
    }
}

/// Sends requests from a moment on, one after each span, until there are enough.
pub async fn visit(scene: Rc<Scene>, first: Instant, every: Duration) -> Result<()> {
    let mut visitor =
        Visitor { connection: Connection::open(scene.address).await?, random: Random::new(), scene: &scene };
    let mut scheduled = first;
    while scene.next() {
        tokio::time::sleep_until(scheduled.into()).await;
        visitor.one().await?;
        scheduled += every;
    }
    Ok(())
}

struct Visitor<'s> {
    connection: Connection,
    random: Random,
    scene: &'s Scene,
}

impl Visitor<'_> {
    async fn one(&mut self) -> Result<()> {
        match self.random.below(100_000) {
            0..3_000 => {
                let token = made_up(&mut self.random);
                self.exchange("made up", &requests::check(&token), &[401]).await.map(drop)
            }
            3_000..4_500 => self.ended().await,
            4_500..5_000 => self.list().await,
            5_000..5_300 => self.exchange("broken", &requests::broken(), &[400]).await.map(drop),
            5_300..5_400 => self.exchange("too long", &requests::too_long(), &[431]).await.map(drop),
            5_400..5_500 => self.log_in().await,
            5_500..5_540 => self.log_out().await,
            5_540..5_570 => {
                let name = format!("stranger{}", self.random.below(STRANGERS));
                self.change("wrong password", &requests::login(&name, "wrong-7Qp2"), &[401, 429]).await.map(drop)
            }
            5_570..5_590 => self.forgotten().await,
            _ => self.check().await,
        }
    }

    async fn check(&mut self) -> Result<()> {
        let Some(session) = self.scene.knowledge.any_live(&mut self.random) else {
            return self.log_in().await;
        };
        let (state, asked) = (session.state.get(), self.scene.clock.since_begin());
        let status = self.exchange("check", &requests::check(&session.token), &[200, 401]).await?;
        let answered = self.scene.clock.since_begin();
        match (self.scene.knowledge.lifetimes.of_used(&session, state, asked, answered), status) {
            (Expected::Accepted, 200) | (Expected::Refused, 401) | (Expected::Either, _) => {}
            (expected, _) => {
                let age = answered.saturating_sub(session.begun);
                bail!("a session in use, begun {age:?} ago, was answered with {status}: {expected:?}")
            }
        }
        if status == 200 {
            session.used.set(asked.max(session.used.get()));
        } else if session.state.get() == State::Live {
            self.scene.knowledge.expire(&session);
        }
        Ok(())
    }

    async fn ended(&mut self) -> Result<()> {
        match self.scene.knowledge.any_ended(&mut self.random) {
            Some(session) => self.exchange("ended", &requests::check(&session.token), &[401]).await.map(drop),
            None => self.check().await,
        }
    }

    async fn forgotten(&mut self) -> Result<()> {
        match self.scene.knowledge.take_forgotten(self.scene.clock.since_begin()) {
            Some(session) => {
                let status = self.exchange("forgotten", &requests::check(&session.token), &[401]).await?;
                if status == 401 {
                    self.scene.knowledge.end(session);
                }
                Ok(())
            }
            None => self.check().await,
        }
    }

    async fn list(&mut self) -> Result<()> {
        match self.scene.knowledge.any_live(&mut self.random) {
            Some(session) => self.exchange("list", &requests::list(&session.token), &[200, 401]).await.map(drop),
            None => self.check().await,
        }
    }

    async fn log_in(&mut self) -> Result<()> {
        let account = &self.scene.accounts[self.random.below(self.scene.accounts.len())];
        let begun = self.scene.clock.since_begin();
        let status = self.change("login", &requests::login(account, PASSWORD), &[200]).await?;
        if status == 200 {
            let body: Value = serde_json::from_slice(self.connection.body())?;
            let token = body["token"].as_str().context("a login without a token")?;
            let session = Session::new(token.as_bytes().try_into()?, begun, self.scene.knowledge.lifetimes.absolute);
            match self.random.below(NEVER_BACK) {
                0 => self.scene.knowledge.forget(session),
                _ => self.scene.knowledge.begin(session),
            }
        }
        Ok(())
    }

    /// What was logged out is refused from the very next request on.
    async fn log_out(&mut self) -> Result<()> {
        let Some(session) = self.scene.knowledge.take_live(&mut self.random) else {
            return self.log_in().await;
        };
        let request = match self.random.below(2) {
            0 => requests::logout(&session.token),
            _ => requests::logout_by_cookie(&session.token),
        };
        let status = self.change("logout", &request, &[200, 204, 401]).await?;
        if FAILED.contains(&status) {
            // It is unknown whether it was ended.
            return Ok(());
        }
        let young = self.scene.knowledge.lifetimes.is_young(&session, self.scene.clock.since_begin());
        ensure!(status != 401 || !young, "a logout of a session in use was refused");
        self.exchange("check after logout", &requests::check(&session.token), &[401]).await?;
        self.scene.knowledge.end(session);
        Ok(())
    }

    /// Sends a request that only reads, and holds the status of its answer to what may be.
    async fn exchange(&mut self, kind: &'static str, request: &[u8], allowed: &[u16]) -> Result<u16> {
        let status = self.connection.exchange_or_reconnect(request).await.context(kind)?;
        self.scene.count(kind, status);
        ensure!(allowed.contains(&status), "{kind} was answered with {status}, and not {allowed:?}");
        Ok(status)
    }

    /// The same for one that the store must write something for, which fails while it cannot, or cannot in time.
    async fn change(&mut self, kind: &'static str, request: &[u8], allowed: &[u16]) -> Result<u16> {
        let might_fail = self.scene.troubles.store_may_fail();
        let status = self.exchange(kind, request, &[allowed, &FAILED].concat()).await?;
        if FAILED.contains(&status) && !might_fail && !self.scene.troubles.store_may_fail() {
            self.scene.failed.set(self.scene.failed.get() + 1);
        }
        Ok(status)
    }
}
