//! One connection: closed when its client is silent, does not read, or is asked to make room. `axum::serve` has none of this.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::BoxError;
use axum::body::Bytes;
use http::StatusCode;
use http::header::CONNECTION;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;

use self::open::{Connection, Orders};
use self::stream::ClientStream;
use super::answers::Answers;
use super::refusal::CLOSE;
use super::request::client_address::FromPeer;

pub mod descriptors;
pub mod listener;
mod open;
mod stream;

/// How much of a head hyper buffers. It answers larger ones by itself; `max_head` is lower, and its refusal has the
/// headers of every answer.
const BUFFER: usize = 64 * 1024;

/// A body of up to this many bytes is expected to arrive with its head, or right behind it.
const SMALL_BODY: u64 = 8 * 1024;

/// How long a listener waits for its clients.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionSettings {
    /// For the first head of a connection to arrive.
    pub first_head: Duration,
    /// For each later head to arrive, for a connection to be idle (one timer governs both), and for an answer to be taken.
    pub head: Duration,
    /// Whether a connection may carry more than one request.
    pub keep_alive: bool,
}

/// Serves one connection until its end.
async fn serve_connection<S>(
    stream: TcpStream,
    peer: IpAddr,
    service: S,
    settings: ConnectionSettings,
    connection: &Arc<Connection>,
) where
    S: Answers<FromPeer<Arriving>>,
{
    // An answer is one write; waiting for more to send only delays it.
    let _ = stream.set_nodelay(true);
    let stream = ClientStream::new(TokioIo::new(stream), settings.head, Arc::clone(connection));
    let answer = service_fn(|request: http::Request<Incoming>| {
        let connection = Arc::clone(connection);
        connection.note_request();
        connection.set_unread(!request.body().is_end_stream());
        // hyper reads what is left of a small body, and closes the connection on the rest of a large one.
        let large = request.body().size_hint().upper().is_none_or(|length| length > SMALL_BODY);
        let request = request.map(|body| Arriving { body, connection: Arc::clone(&connection), waits: false });
        let answer = service.clone().call(FromPeer { peer, request });
        async move {
            let mut response = answer.await?;
            // A body that came too late may come yet, and is no request.
            let late = response.status() == StatusCode::REQUEST_TIMEOUT;
            if (large || late) && connection.has_unread() {
                response.headers_mut().insert(CONNECTION, CLOSE);
            }
            connection.note_answer();
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(settings.head)
            .keep_alive(settings.keep_alive)
            .max_buf_size(BUFFER)
            // Answers are small: one copy is cheaper than a list of pieces.
            .writev(false)
            .serve_connection(stream, answer)
    );
    // Dropped before `http`, so that no body is taken for complete because its connection has ended.
    let _end = End(connection);
    let mut first_head = pin!(tokio::time::sleep(settings.first_head));
    // How many requests had begun when it was last asked to make room.
    let mut asked = None;
    loop {
        tokio::select! {
            biased;
            ended = http.as_mut() => {
                // Resets, timeouts and garbage are the client's business.
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            Orders { finish, make_room } = connection.ordered() => {
                if finish {
                    http.as_mut().graceful_shutdown();
                }
                if make_room && connection.may_make_room() {
                    let requests = connection.requests();
                    if asked == Some(requests) {
                        return;
                    }
                    // What has arrived meanwhile, or is in hyper's buffer, is read first.
                    asked = Some(requests);
                    connection.order_to_make_room();
                }
            }
            () = first_head.as_mut(), if connection.requests() == 0 => {
                if connection.requests() == 0 {
                    return;
                }
            }
        }
    }
}

/// Notes the end of a connection when dropped.
struct End<'c>(&'c Connection);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.note_end();
    }
}

/// A body on its way in, which notes when all of it has come. One whose connection ends before that is an error: a handler
/// that outlives the connection would otherwise take the part that came for the whole.
#[derive(Debug)]
pub struct Arriving {
    body: Incoming,
    connection: Arc<Connection>,
    /// Whether more of it is waited for.
    waits: bool,
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            if !std::mem::replace(&mut self.waits, true) {
                self.connection.set_awaiting_body(true);
            }
            return Poll::Pending;
        };
        if std::mem::take(&mut self.waits) {
            self.connection.set_awaiting_body(false);
        }
        let whole = self.body.is_end_stream();
        if frame.is_none() && !whole && self.connection.has_ended() {
            return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionAborted).into())));
        }
        if frame.is_none() || whole {
            self.connection.set_unread(false);
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
