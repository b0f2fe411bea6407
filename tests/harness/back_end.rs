//! An application behind a proxy, which answers with what it was sent.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::stream::{self, StreamExt as _};
use http::header::{ACCEPT, CONNECTION, UPGRADE};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::harness::Reply;

/// One that runs until it is dropped.
pub struct BackEnd {
    /// Where it listens.
    pub address: String,
    requests: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl BackEnd {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let router = Router::new().fallback(tell).with_state(Arc::clone(&requests));
        let mut task = JoinSet::new();
        task.spawn(async { axum::serve(listener, router).await.expect("it serves") });
        Self { address, requests, _task: task }
    }

    /// How many requests have reached it.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// Answers with the request's method, target, headers and length. Where another protocol or a stream of events is asked for,
/// it says so in a header; it echoes bytes, or sends two events after a while and nothing more.
async fn tell(State(requests): State<Arc<AtomicUsize>>, mut request: Request) -> Response {
    requests.fetch_add(1, Ordering::Relaxed);
    let line = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
    };
    let mut told = json!({
        "method": request.method().as_str(),
        "target": request.uri().to_string(),
        "headers": request.headers().iter().map(line).collect::<Vec<_>>(),
    });
    if let Some(protocol) = request.headers().get(UPGRADE).cloned() {
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let Ok(upgraded) = upgrade.await else { return };
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        let switch = Response::builder().status(101).header(CONNECTION, "upgrade").header(UPGRADE, protocol);
        // Any value is right for a client that computes none.
        return switch
            .header("sec-websocket-accept", "x")
            .header("told", told.to_string())
            .body(Body::empty())
            .expect("fit");
    }
    if request.headers().get(ACCEPT).is_some_and(|accept| accept == "text/event-stream") {
        // Each later than what was before it, so that it has to pass by itself.
        let events = stream::iter(["data: one\n\n", "data: two\n\n"]).then(async |event| {
            sleep(Duration::from_millis(200)).await;
            Ok::<_, Infallible>(event)
        });
        let body = Body::from_stream(events.chain(stream::pending()));
        let response = Response::builder().header("content-type", "text/event-stream").header("told", told.to_string());
        return response.body(body).expect("fit");
    }
    told["length"] = request.into_body().collect().await.map_or(Value::Null, |body| json!(body.to_bytes().len()));
    Response::new(Body::from(told.to_string()))
}

/// What a back end says that it was sent.
pub struct Told(pub Value);

impl Told {
    /// Reads it from the answer that came through the proxy.
    pub fn from_reply(reply: &Reply) -> Self {
        Self(reply.header("told").map_or_else(|| reply.json(), |told| serde_json::from_str(told).expect("JSON")))
    }

    /// All headers whose name begins so, however it separates its words; sorted.
    pub fn all(&self, begin: &str) -> Vec<(String, String)> {
        let lines: Vec<(String, String)> = serde_json::from_value(self.0["headers"].clone()).expect("pairs");
        let dashed = |name: &str| name.replace(|char: char| !char.is_ascii_alphanumeric(), "-").to_lowercase();
        let here = |(name, _): &(String, String)| dashed(name).starts_with(begin);
        let mut here: Vec<_> = lines.into_iter().filter(here).collect();
        here.sort();
        here
    }
}
