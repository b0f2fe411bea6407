//! A connection's stream: writing to a client that does not read fails after a while, and the last answer reaches a
//! client that is still sending.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

use super::open::Connection;

/// How long what a client still sends is read and thrown away, once it was refused.
const DISCARD_LIMIT: Duration = Duration::from_secs(2);
/// How much of it, in bytes.
const DISCARD_BYTES: usize = 4 * 1024 * 1024;

/// A stream on which every write makes some progress within a given time, or fails.
///
/// hyper waits for ever for a client that sends requests and reads no answers. The timer is set only once the operating
/// system takes no more, which never happens with an answer that is read.
///
/// A connection that is closed while something of it is unread is reset by the operating system, and a reset makes the
/// client's system throw away the answer before the client has read it. So what is still sent is read for a moment.
#[derive(Debug)]
pub(super) struct ClientStream<S> {
    stream: S,
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    connection: Arc<Connection>,
    discard: Option<Discard>,
}

/// For how much longer, and how much more, is read from a client after its last answer.
#[derive(Debug)]
struct Discard {
    end: Pin<Box<Sleep>>,
    left: usize,
}

impl<S> ClientStream<S> {
    /// Bounds the writes on `stream`.
    pub(super) const fn new(stream: S, limit: Duration, connection: Arc<Connection>) -> Self {
        Self { stream, limit, timer: None, connection, discard: None }
    }

    fn in_time<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            if self.timer.take().is_some() {
                self.connection.set_writing(false);
            }
            return done;
        }
        let limit = self.limit;
        if self.timer.is_none() {
            self.connection.set_writing(true);
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Read + Unpin> ClientStream<S> {
    /// Reads and throws away what the client still sends, within bounds.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { stream, discard, .. } = self;
        let discard =
            discard.get_or_insert_with(|| Discard { end: Box::pin(sleep(DISCARD_LIMIT)), left: DISCARD_BYTES });
        while discard.left > 0 && discard.end.as_mut().poll(context).is_pending() {
            let mut bytes = [0; 4096];
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *stream).poll_read(context, buffer.unfilled())) {
                Ok(()) if !buffer.filled().is_empty() => {
                    discard.left = discard.left.saturating_sub(buffer.filled().len());
                }
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: Read + Unpin> Read for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, to);
        if read.is_ready() {
            // It counts as unread until a request reads it.
            self.connection.set_unread(true);
        }
        read
    }
}

impl<S: Read + Write + Unpin> Write for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.discard.is_none() {
            let shut = Pin::new(&mut self.stream).poll_shutdown(context);
            let shut = ready!(self.in_time(context, shut));
            if shut.is_err() || !self.connection.has_unread() {
                return Poll::Ready(shut);
            }
        }
        self.poll_discard(context).map(Ok)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.in_time(context, written)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn pair() -> (ClientStream<TokioIo<DuplexStream>>, DuplexStream) {
        let (ours, theirs) = duplex(4);
        (ClientStream::new(TokioIo::new(ours), LIMIT, Arc::new(Connection::new())), theirs)
    }

    async fn write(stream: &mut ClientStream<TokioIo<DuplexStream>>) -> io::Result<usize> {
        poll_fn(|context| Pin::new(&mut *stream).poll_write(context, b"four")).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_is_not_read_fails_in_time() {
        let (mut ours, _theirs) = pair();
        assert_eq!(write(&mut ours).await.expect("room"), 4);
        let begin = Instant::now();
        assert_eq!(write(&mut ours).await.expect_err("no room").kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed().as_secs(), LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_the_whole_time_for_each_write() {
        let (mut ours, mut theirs) = pair();
        let begin = Instant::now();
        let reading = async {
            for _ in 0..5 {
                tokio::time::advance(LIMIT.mul_f32(0.9)).await;
                theirs.read_exact(&mut [0; 4]).await.expect("four bytes");
            }
        };
        let writing = async {
            for _ in 0..5 {
                assert_eq!(write(&mut ours).await.expect("room in the end"), 4);
            }
        };
        tokio::join!(writing, reading);
        assert!(begin.elapsed() > 4 * LIMIT);
    }

    async fn shut(mut stream: ClientStream<TokioIo<DuplexStream>>) -> io::Result<()> {
        poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_refused_client_still_sends_is_read_for_a_moment_and_no_longer() {
        let (ours, theirs) = pair();
        ours.connection.set_unread(true);
        let begin = Instant::now();
        let (shut, ()) = tokio::join!(shut(ours), async {
            let mut theirs = theirs;
            while theirs.write_all(b"more").await.is_ok() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(shut.is_ok());
        assert_eq!(begin.elapsed().as_secs(), DISCARD_LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_has_sent_everything_or_closes_is_not_waited_for() {
        for unread in [false, true] {
            let (ours, theirs) = pair();
            ours.connection.set_unread(unread);
            let theirs = (!unread).then_some(theirs);
            let begin = Instant::now();
            assert!(shut(ours).await.is_ok());
            assert_eq!(begin.elapsed(), Duration::ZERO);
            drop(theirs);
        }
    }
}
