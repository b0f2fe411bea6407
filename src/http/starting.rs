//! The operations listener while the store is being opened, which may take long: a database that is not up yet is
//! waited for, and so is another process that migrates. Liveness succeeds from the first moment on, so that a server
//! that only waits is not restarted. Readiness fails, with the reason.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::connection::listener::{ACCEPT_PAUSE, OPS_CONNECTIONS};
use super::framing::{HeadRules, Listener};
use super::ops::Operations;
use super::refusal::refuse_head;
use super::request::id::new_id;
use super::stamps::stamp;
use crate::store::opening::Opening;

/// How long a connection may take, which is for one request.
const LIMIT: Duration = Duration::from_secs(2);

/// Answers until it is dropped. The listener can then be served by the real service.
pub async fn serve(listener: &TcpListener, heads: &HeadRules, opening: &Opening) -> Infallible {
    let heads = Arc::new(heads.clone());
    let mut newest = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = timeout(LIMIT, connection(stream, Arc::clone(&heads), opening.clone()));
                #[expect(clippy::disallowed_methods, reason = "ends within two seconds, or when more have come since")]
                newest.push_back(tokio::spawn(connection).abort_handle());
                // Each request is answered at once, so that the oldest connection is one that sends none.
                if newest.len() > OPS_CONNECTIONS
                    && let Some(oldest) = newest.pop_front()
                {
                    oldest.abort();
                }
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection(stream: TcpStream, heads: Arc<HeadRules>, opening: Opening) {
    let answer = service_fn(|request: Request<Incoming>| {
        let path = request.uri().path();
        let mut response = match heads.check(&request, Listener::Operations) {
            Ok(()) => answer(path, &opening),
            Err(refusal) => refuse_head::<Operations>(&refusal),
        };
        stamp(response.headers_mut(), new_id());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    // Resets and garbage are the client's business.
    let _ = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answer).await;
}

fn answer(path: &str, opening: &Opening) -> Response<Body> {
    let (status, text) = match path {
        "/livez" => (StatusCode::OK, String::from("alive\n")),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, format!("store: {opening}\nserver: starting\n")),
        _ => (StatusCode::SERVICE_UNAVAILABLE, String::from("starting\n")),
    };
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
