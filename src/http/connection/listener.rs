//! A listener: accepts connections up to a cap, and drains them at the end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::open::{Connection, Connections};
use super::{Arriving, ConnectionSettings, serve_connection};
use crate::http::answers::Answers;
use crate::http::request::client_address::FromPeer;
use crate::telemetry::Metrics;
use crate::telemetry::outage::LogThrottle;

/// How long a request that was sent before the server stopped may take to arrive.
const ARRIVAL_LIMIT: Duration = Duration::from_millis(50);
/// How long a client whose connection has no request under way may take to close it, once the server is to stop.
const CLOSING_LIMIT: Duration = Duration::from_secs(1);
/// How many connections of operations may be open at a time. They are counted apart from those of clients, so that
/// clients cannot keep a health check out.
pub const OPS_CONNECTIONS: usize = 32;
/// How many connections are accepted before those that are open have their turn, so that a crowd of new clients does not keep
/// the others waiting.
const ACCEPTED_IN_A_ROW: u32 = 8;
/// How long to wait when the operating system has no more file descriptors.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener needs in addition to its socket.
#[derive(Clone)]
pub struct Served<S> {
    /// The service that answers requests.
    pub service: S,
    /// How many connections may be open at a time.
    pub most: usize,
    /// How long its clients may take.
    pub settings: ConnectionSettings,
    /// The metrics that connections are counted in.
    pub metrics: Arc<Metrics>,
}

/// Serves on `listener` until `stop`, then lets requests under way finish.
///
/// By `deadline`, which is set once `stop` is cancelled, it must have ended: what is still under way then is dropped.
pub async fn serve<S>(listener: TcpListener, served: Served<S>, stop: CancellationToken, deadline: Arc<Deadline>)
where
    S: Answers<FromPeer<Arriving>>,
{
    let (connections, mut throttle) = (Arc::new(Connections::default()), LogThrottle::default());
    let mut in_a_row = 0;
    loop {
        if in_a_row == ACCEPTED_IN_A_ROW {
            in_a_row = 0;
            tokio::task::yield_now().await;
        }
        in_a_row += 1;
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                // At the cap the connection that has been idle for longest makes room. Where all have a request under way,
                // new clients wait.
                while connections.count() >= served.most && !stop.is_cancelled() {
                    connections.make_room();
                    connections.change().await;
                }
                begin(stream, peer, &served, &connections);
            }
            Err(error) => pause_if_out_of_descriptors(&error, &mut throttle).await,
        }
    }
    // Clients that have connected by now are answered too: after a reset, a proxy would not know whether its request
    // was done.
    if let Ok(listener) = listener.into_std() {
        while connections.count() < served.most
            && let Ok((stream, peer)) = listener.accept()
        {
            if let Ok(stream) = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                begin(stream, peer, &served, &connections);
            }
        }
    }
    tokio::time::sleep(ARRIVAL_LIMIT).await;
    connections.finish();
    if tokio::time::timeout(CLOSING_LIMIT, connections.none_left()).await.is_ok() {
        return;
    }
    // A part of a request's head is no request under way.
    connections.close_idle();
    if tokio::time::timeout_at(deadline.at(), connections.none_left()).await.is_err() {
        tracing::warn!(connections = connections.count(), "requests were still under way at the end, and are dropped");
    }
}

fn begin<S>(stream: TcpStream, peer: SocketAddr, served: &Served<S>, connections: &Arc<Connections>)
where
    S: Answers<FromPeer<Arriving>>,
{
    let connection = Arc::new(Connection::new());
    let place = connections.add(Arc::clone(&connection));
    let connected = served.metrics.connected();
    let Served { service, settings, .. } = served.clone();
    #[expect(
        clippy::disallowed_methods,
        reason = "counted by `connections`, bounded by `most`, and drained at the end"
    )]
    tokio::spawn(async move {
        serve_connection(stream, peer.ip(), service, settings, &connection).await;
        drop((place, connected));
    });
}

async fn pause_if_out_of_descriptors(error: &io::Error, throttle: &mut LogThrottle) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset) {
        if throttle.is_due() {
            tracing::error!(%error, "cannot accept connections");
        }
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

/// When everything must have ended, set once the service is asked to stop.
#[derive(Debug, Default)]
pub struct Deadline(std::sync::OnceLock<Instant>);

impl Deadline {
    /// Sets it, unless it is set already.
    pub fn set(&self, at: Instant) {
        let _ = self.0.set(at);
    }

    /// Returns the deadline, or the present moment where none was set.
    pub fn at(&self) -> Instant {
        self.0.get().copied().unwrap_or_else(Instant::now)
    }
}
