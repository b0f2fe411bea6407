//! A connection whose client does not read: writing to it fails after a while, so that it gives its place back.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Sleep, sleep};

/// A stream on which every write makes some progress within so long, or fails.
///
/// hyper waits for ever for a client that sends requests and reads no answers. The timer is set only once the
/// operating system takes no more, which an answer that is read never comes to.
#[derive(Debug)]
pub(super) struct Stall<S> {
    stream: S,
    patience: Duration,
    alarm: Option<Pin<Box<Sleep>>>,
}

impl<S> Stall<S> {
    /// Bounds the writes on `stream`.
    pub(super) const fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, alarm: None }
    }

    fn in_time<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.alarm = None;
            return done;
        }
        let patience = self.patience;
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep(patience)));
        alarm.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Read + Unpin> Read for Stall<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl<S: Write + Unpin> Write for Stall<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.in_time(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.in_time(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.in_time(context, shut)
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
    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn pair() -> (Stall<TokioIo<DuplexStream>>, DuplexStream) {
        let (ours, theirs) = duplex(4);
        (Stall::new(TokioIo::new(ours), PATIENCE), theirs)
    }

    async fn write(stream: &mut Stall<TokioIo<DuplexStream>>) -> io::Result<usize> {
        poll_fn(|context| Pin::new(&mut *stream).poll_write(context, b"four")).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails_in_time() {
        let (mut ours, _theirs) = pair();
        assert_eq!(write(&mut ours).await.expect("room"), 4);
        let begin = Instant::now();
        assert_eq!(write(&mut ours).await.expect_err("no room").kind(), io::ErrorKind::TimedOut);
        assert_eq!(begin.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_the_whole_time_for_each_write() {
        let (mut ours, mut theirs) = pair();
        let begin = Instant::now();
        let reading = async {
            for _ in 0..5 {
                tokio::time::advance(PATIENCE.mul_f32(0.9)).await;
                theirs.read_exact(&mut [0; 4]).await.expect("four bytes");
            }
        };
        let writing = async {
            for _ in 0..5 {
                assert_eq!(write(&mut ours).await.expect("room in the end"), 4);
            }
        };
        tokio::join!(writing, reading);
        assert!(begin.elapsed() > 4 * PATIENCE);
    }
}
