//! The state that every handler shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::cookie::SessionCookie;
use super::origin::Origins;
use crate::config;
use crate::http::brand::Brand;
use crate::http::framing::HeadRules;
use crate::service::Service;
use crate::telemetry::Metrics;
use crate::telemetry::outage::LogThrottle;

/// How long clients may take. Constants of the service; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For the first head of a connection to arrive.
    pub first_head: Duration,
    /// For each later head to arrive, for a connection to be idle (one timer governs both), and for an answer to be taken.
    pub head: Duration,
    /// For each of these on the operations listener.
    pub operations: Duration,
    /// For a body to arrive.
    pub body: Duration,
    /// For an answer to be made: a body's time, a place in the password queue, and the store's.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_head: Duration::from_secs(5),
            head: Duration::from_secs(30),
            operations: Duration::from_secs(2),
            body: Duration::from_secs(10),
            answer: Duration::from_secs(20),
        }
    }
}

/// The rules that can change while the server runs. They change together, by one pointer.
#[derive(Debug)]
pub struct Rules {
    /// Which origins may do what.
    pub origins: Origins,
    /// The proxies whose forwarded addresses and ids are trusted.
    pub trusted_proxies: config::TrustedProxies,
}

impl Rules {
    fn new(http: &config::Http) -> Self {
        Self { origins: Origins::new(http), trusted_proxies: http.trusted_proxies.clone() }
    }
}

/// Shared by every handler of both listeners.
#[derive(Clone)]
pub struct App(Arc<Inner>);

/// The contents of an [`App`].
pub struct Inner {
    /// The business rules.
    pub service: Service,
    /// How the session cookie is written.
    pub cookie: SessionCookie,
    rules: ArcSwap<Rules>,
    /// Which credentials `/verify` accepts.
    pub verify_credentials: Vec<config::CredentialKind>,
    /// The other origins to which people are sent back.
    pub allowed_return_origins: Vec<config::Origin>,
    /// Those of them that the cookie does not reach.
    out_of_reach: Vec<config::Origin>,
    /// Limits the line about origins that are not among them.
    pub unlisted_returns: Mutex<LogThrottle>,
    /// Whether requests that came over plain HTTP are refused.
    pub require_https: bool,
    /// Whether every logout by cookie has the browser drop what it keeps of this origin's pages.
    pub clear_site_data: bool,
    /// The rules that the heads of requests are checked against.
    pub heads: HeadRules,
    /// What the pages look like.
    pub brand: Brand,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    draining: AtomicBool,
    /// Handlers that run to their end even if their client disconnects.
    finishing: TaskTracker,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Builds the state from the service and the configuration of the wire side.
    pub fn new(service: Service, http: &config::Http, timeouts: Timeouts, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            service,
            cookie: SessionCookie::new(&http.cookie),
            rules: ArcSwap::from_pointee(Rules::new(http)),
            allowed_return_origins: http.allowed_return_origins.clone(),
            out_of_reach: http.out_of_reach().map(|(origin, _)| origin.clone()).collect(),
            unlisted_returns: Mutex::default(),
            require_https: http.require_https,
            clear_site_data: http.clear_site_data,
            verify_credentials: http.verify_credentials.clone(),
            heads: HeadRules::new(http),
            brand: Brand::new(&http.brand),
            timeouts,
            metrics,
            draining: AtomicBool::new(false),
            finishing: TaskTracker::new(),
        }))
    }

    /// The rules in force now. Whatever needs more than one of them takes them once, so that they belong together.
    pub fn rules(&self) -> Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// From now on requests are held to these rules.
    pub fn set_rules(&self, http: &config::Http) {
        self.rules.store(Arc::new(Rules::new(http)));
    }

    /// Whether the cookie gets to the listed origin of a URL.
    pub fn cookie_reaches(&self, url: &str) -> bool {
        let origin = url::Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
        self.out_of_reach.iter().all(|out| out.as_str() != origin)
    }

    /// From now on readiness fails and each answer ends its connection, so that balancers choose other servers.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Runs a handler that revokes something in a task of its own, so that it runs to its end even if its client
    /// disconnects.
    pub async fn finish(&self, handler: impl Future<Output = Response> + Send + 'static) -> Response {
        match self.finishing.spawn(handler.in_current_span()).await {
            Ok(response) => response,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only the end of the runtime cancels it.
                Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
            },
        }
    }

    /// Waits until every handler that `finish` has started has ended.
    pub async fn finished(&self) {
        self.finishing.close();
        self.finishing.wait().await;
    }

    /// Whether [`Self::drain`] was called.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}
