//! A connection that waits for its client only so long.
#![forbid(unsafe_code)]

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::TcpStream;
use tokio::time::{sleep, Instant, Sleep};

/// Bytes a second that a client takes at least while more wait for it, as over a modem.
const LEAST: u64 = 8 << 10;

/// How long what a client still sends is taken in, after the last word to it: closed at once, the connection would
/// be reset, and the client would lose the answer it has not read yet.
const LINGER: Duration = Duration::from_secs(1);

/// How often is looked whether a client has left whose bytes wait unread.
const LOOK: Duration = Duration::from_millis(100);

/// A socket whose writes fail when the client takes nothing for a time, or too little for long.
pub(super) struct Patient {
    read: Arc<OwnedReadHalf>,
    write: OwnedWriteHalf,
    debt: Debt,
    /// Runs while a write waits.
    stalled: Option<Stall>,
    /// Runs from the last word on.
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Self {
        let (read, write) = stream.into_split();
        let debt = Debt { most: patience, owed: Duration::ZERO };
        Self { read: Arc::new(read), write, debt, stalled: None, lingering: None }
    }

    /// Ready a moment after the client has left, or said that it will send nothing more. Who reads the socket finds
    /// that out alone only where all that was sent before has been read: a request that follows stands in the way.
    pub(super) fn left(&self) -> impl Future<Output = ()> + Send + 'static {
        let read = Arc::clone(&self.read);
        async move {
            // An error: there is no connection any more.
            while let Ok(ready) = read.ready(Interest::READABLE).await {
                if ready.is_read_closed() {
                    break;
                }
                sleep(LOOK).await;
            }
            sleep(LINGER).await;
        }
    }

    fn poll_bytes(&self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let stream: &TcpStream = (*self.read).as_ref();
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match stream.try_read(into.initialize_unfilled()) {
                Ok(count) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// What a write came to; an error where it has waited for too long.
    fn written(&mut self, cx: &mut Context<'_>, wrote: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if let Poll::Ready(outcome) = wrote {
            let waited = self.stalled.take().map_or(Duration::ZERO, |stall| stall.since.elapsed());
            self.debt.add(waited, *outcome.as_ref().unwrap_or(&0));
            return Poll::Ready(outcome);
        }
        let left = self.debt.left();
        let stall = self
            .stalled
            .get_or_insert_with(|| Stall { since: Instant::now(), timer: Box::pin(sleep(left)) });
        ready!(stall.timer.as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client does not read")))
    }
}

/// A write that waits.
struct Stall {
    since: Instant,
    timer: Pin<Box<Sleep>>,
}

/// What a client owes: the time that writes waited for it, less what the bytes that it took are worth. So one that
/// takes a little now and then is waited for no longer than what it was sent is worth.
struct Debt {
    most: Duration,
    owed: Duration,
}

impl Debt {
    fn left(&self) -> Duration {
        self.most.saturating_sub(self.owed)
    }

    fn add(&mut self, waited: Duration, bytes: usize) {
        let worth = Duration::from_micros(bytes as u64 * 1_000_000 / LEAST);
        self.owed = (self.owed + waited).saturating_sub(worth);
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.poll_bytes(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let wrote = Pin::new(&mut self.write).poll_write(cx, bytes);
        self.written(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let wrote = Pin::new(&mut self.write).poll_write_vectored(cx, bytes);
        self.written(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.write.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.write).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.write).poll_shutdown(cx))?;
        }
        let mut timer = self.lingering.take().unwrap_or_else(|| Box::pin(sleep(LINGER)));
        let mut bytes = [0; 4096];
        while timer.as_mut().poll(cx).is_pending() {
            let mut unread = ReadBuf::new(&mut bytes);
            let Poll::Ready(read) = self.poll_bytes(cx, &mut unread) else {
                self.lingering = Some(timer);
                return Poll::Pending;
            };
            read?;
            if unread.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a client is waited for that lets each write wait for `pause` and takes `bytes` then.
    fn lasts(pause: Duration, bytes: usize) -> Option<Duration> {
        let mut debt = Debt { most: Duration::from_secs(30), owed: Duration::ZERO };
        let mut whole = Duration::ZERO;
        for _ in 0..1_000 {
            if pause >= debt.left() {
                return Some(whole + debt.left());
            }
            debt.add(pause, bytes);
            whole += pause;
        }
        None
    }

    #[test]
    fn who_takes_little_is_not_waited_for() {
        let seconds = Duration::from_secs;
        assert_eq!(lasts(seconds(60), 0), Some(seconds(30)));
        // A segment just before the time is over.
        assert_eq!(lasts(seconds(29), 1_460).map(|time| time.as_secs()), Some(30));
        assert!(lasts(seconds(29), 64 << 10).is_some_and(|time| time < seconds(60)));
        assert!(lasts(seconds(1), 4 << 10).is_some_and(|time| time < seconds(70)));
        // Slow, but as fast as is asked for; and in steps.
        assert_eq!(lasts(seconds(1), 8 << 10), None);
        assert_eq!(lasts(seconds(20), 256 << 10), None);
    }
}
