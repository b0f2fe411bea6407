//! Lines of the log on their way to standard error, which may be slow, full, closed or never read.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;

/// How many lines wait at most.
const MOST_LINES: usize = 4096;
/// How many bytes wait at most.
const MOST_BYTES: usize = 1 << 20;
/// How long to wait before another attempt where standard error takes nothing at the moment and does not block either.
const RETRY: Duration = Duration::from_millis(10);

thread_local! {
    /// Whether this thread is the one that writes. Its own lines are taken even if the queue is full.
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

/// A bounded queue, and one thread that writes what is in it. Putting a line in never waits and never fails: where there
/// is no room, or where the line cannot be written, it is dropped and counted, and the log says so once it flows again.
#[derive(Debug, Default)]
pub(super) struct Lines {
    state: Mutex<State>,
    /// Notified when a line was put in.
    filled: Condvar,
    /// Notified when everything was written.
    emptied: Condvar,
    /// Lines dropped since the start.
    dropped: Counter<u64, AtomicU64>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Box<[u8]>>,
    /// How many bytes are waiting, those of the line that is being written included.
    bytes: usize,
    writing: bool,
    /// How many lines were dropped that the log has not mentioned yet.
    unreported: u64,
}

impl Lines {
    /// How many lines were dropped since the start.
    pub(super) fn dropped(&self) -> &Counter<u64, AtomicU64> {
        &self.dropped
    }

    /// Takes a line, or drops it.
    pub(super) fn put(&self, line: &[u8]) {
        let mut state = self.state.lock();
        let room = state.waiting.len() < MOST_LINES && state.bytes.saturating_add(line.len()) <= MOST_BYTES;
        if room || WRITES.get() {
            state.bytes = state.bytes.saturating_add(line.len());
            state.waiting.push_back(line.into());
            self.filled.notify_one();
        } else {
            self.count_dropped(&mut state);
        }
    }

    /// Waits until everything was written, for `limit` at most.
    pub(super) fn flush(&self, limit: Duration) {
        let mut state = self.state.lock();
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let _ = self.emptied.wait_while_for(&mut state, busy, limit);
    }

    /// Writes the lines that are put in, for ever. `report` puts in a line that says how many were dropped.
    pub(super) fn write(&self, mut to: impl Write, report: impl Fn(u64)) {
        WRITES.set(true);
        // After a line that was written only in part, the next one begins on a line of its own.
        let mut torn = false;
        let mut since_report = 0;
        loop {
            let line = self.next();
            let done = (!torn || write(&mut to, b"\n").is_ok()) && {
                let (Ok(written) | Err(written)) = write(&mut to, &line);
                torn = 0 < written && written < line.len();
                written == line.len()
            };
            since_report += 1;
            let mut state = self.state.lock();
            state.bytes = state.bytes.saturating_sub(line.len());
            if !done {
                self.count_dropped(&mut state);
            }
            let empty = state.waiting.is_empty();
            // Lines may be dropped all the time. The report then comes once for every queue of lines.
            let unreported =
                if done && (empty || since_report >= MOST_LINES) { std::mem::take(&mut state.unreported) } else { 0 };
            drop(state);
            if unreported > 0 {
                since_report = 0;
                report(unreported);
            }
        }
    }

    fn next(&self) -> Box<[u8]> {
        let mut state = self.state.lock();
        loop {
            if let Some(line) = state.waiting.pop_front() {
                state.writing = true;
                return line;
            }
            state.writing = false;
            self.emptied.notify_all();
            self.filled.wait(&mut state);
        }
    }

    fn count_dropped(&self, state: &mut State) {
        state.unreported = state.unreported.saturating_add(1);
        self.dropped.inc();
    }
}

/// Writes all of it, however long that takes. A failure says how much was written.
fn write(to: &mut impl Write, bytes: &[u8]) -> Result<usize, usize> {
    let mut written = 0;
    while let Some(rest @ [_, ..]) = bytes.get(written..) {
        match to.write(rest) {
            Ok(more @ 1..) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Ok(0) | Err(_) => return Err(written),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Does with each write what the next step of a script says: takes so many bytes, or fails.
    struct ScriptedWriter(Receiver<io::Result<usize>>, Sender<Vec<u8>>);

    impl Write for ScriptedWriter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // At the end of the script it takes everything.
            let taken = self.0.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            let _ = self.1.send(bytes[..taken].to_vec());
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn started() -> (Arc<Lines>, Sender<io::Result<usize>>, Receiver<Vec<u8>>) {
        let lines = Arc::new(Lines::default());
        let ((script, steps), (send, written)) = (channel(), channel());
        let of_thread = Arc::clone(&lines);
        std::thread::spawn(move || {
            let report = |count| of_thread.put(format!("{count} were dropped\n").as_bytes());
            of_thread.write(ScriptedWriter(steps, send), report);
        });
        (lines, script, written)
    }

    /// Waits until all lines are written, and returns what was written.
    fn all(lines: &Lines, written: &Receiver<Vec<u8>>) -> String {
        lines.flush(Duration::from_secs(30));
        String::from_utf8(written.try_iter().flatten().collect()).expect("UTF-8")
    }

    #[test]
    fn a_full_queue_drops_lines_and_says_how_many_once_it_flows_again() {
        let (lines, script, written) = started();
        for number in 0..MOST_LINES + 100 {
            lines.put(format!("{number}\n").as_bytes());
        }
        let dropped = lines.dropped().get();
        assert!((99..=100).contains(&dropped), "one may be on its way: {dropped}");
        drop(script);
        let text = all(&lines, &written);
        assert!(text.starts_with("0\n1\n2\n"));
        assert!(text.ends_with(&format!("\n{dropped} were dropped\n")), "{}", &text[text.len() - 100..]);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (lines, script, written) = started();
        let long = vec![b'x'; 1 << 16];
        for _ in 0..20 {
            lines.put(&long);
        }
        lines.put(&vec![b'y'; MOST_BYTES + 1]);
        assert_eq!(lines.dropped().get(), 5);
        drop(script);
        assert_eq!(all(&lines, &written).matches('x').count(), MOST_BYTES);
    }

    #[test]
    fn a_line_that_cannot_be_written_is_dropped_and_the_next_one_begins_on_a_line_of_its_own() {
        let (lines, script, written) = started();
        let no_space = || Err(io::Error::from(ErrorKind::StorageFull));
        for answer in
            [no_space(), Ok(3), no_space(), Err(ErrorKind::WouldBlock.into()), Err(ErrorKind::Interrupted.into())]
        {
            script.send(answer).expect("running");
        }
        for line in ["first\n", "second\n", "third\n"] {
            lines.put(line.as_bytes());
        }
        drop(script);
        assert_eq!(all(&lines, &written), "sec\nthird\n2 were dropped\n");
        assert_eq!(lines.dropped().get(), 2);
    }

    #[test]
    fn flushing_what_does_not_flow_ends() {
        let (lines, _script, _written) = started();
        lines.put(b"stuck\n");
        lines.flush(Duration::from_millis(10));
    }
}
