//! Connections: accepted up to a cap, closed when silent or deaf, drained at the end. `axum::serve` has none of this.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::alarm::Alarm;
use super::layers::Stack;
use super::stall::Stall;
use crate::telemetry::Metrics;

/// What hyper buffers of a head. It answers larger ones by itself; ours refuses, stamped, from 16 KiB.
const BUFFER: usize = 32 * 1024;
/// How long requests under way may take once the server is to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a request that was sent before the server stopped may take to arrive.
const LAST_WORDS: Duration = Duration::from_millis(50);
/// How long to wait when the operating system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `stack` on `listener` until `stop`, then lets requests under way finish.
pub async fn serve(
    listener: TcpListener,
    stack: Stack,
    max_connections: usize,
    head_timeout: Duration,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let connections = GracefulShutdown::new();
    let begin = |stream, peer, slot: Result<OwnedSemaphorePermit, AcquireError>| {
        let connection = connections.watch(connection(stream, peer, stack.clone(), head_timeout));
        let connected = metrics.connected();
        #[expect(clippy::disallowed_methods, reason = "watched by `connections`, and bounded by `slots`")]
        tokio::spawn(async move {
            // Resets, timeouts and garbage are the client's business.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            drop((slot, connected));
        });
    };
    loop {
        // At the cap nobody is accepted: new clients wait in the listener's backlog.
        let accepted = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let ((stream, peer), slot) = tokio::select! {
            () = stop.cancelled() => break,
            (accepted, slot) = accepted => match accepted {
                Ok(connection) => (connection, slot),
                Err(error) => {
                    pause_if_out_of_descriptors(&error).await;
                    continue;
                }
            },
        };
        begin(stream, peer, slot);
    }
    // Whoever has connected by now is answered too: reset, a proxy could not tell whether its request was done.
    if let Ok(listener) = listener.into_std() {
        while let Ok(slot) = Arc::clone(&slots).try_acquire_owned()
            && let Ok((stream, peer)) = listener.accept()
        {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                begin(stream, peer, Ok(slot));
            }
        }
    }
    tokio::time::sleep(LAST_WORDS).await;
    if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way after {DRAIN:?}");
    }
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    stack: Stack,
    head_timeout: Duration,
) -> http1::Connection<
    Stall<TokioIo<TcpStream>>,
    impl hyper::service::HttpService<hyper::body::Incoming, ResBody = axum::body::Body, Error = Infallible, Future: Send>,
> {
    // An answer is one write; waiting for more to send only delays it.
    let _ = stream.set_nodelay(true);
    let stack = Arc::new(stack);
    let answer = service_fn(move |request| {
        let stack = Arc::clone(&stack);
        async move { Ok::<_, Infallible>(stack.answer(peer.ip(), request).await) }
    });
    http1::Builder::new()
        .timer(Alarm::default())
        .header_read_timeout(head_timeout)
        .max_buf_size(BUFFER)
        // Answers are small: one copy is cheaper than a list of pieces.
        .writev(false)
        .serve_connection(Stall::new(TokioIo::new(stream), head_timeout), answer)
}

async fn pause_if_out_of_descriptors(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
