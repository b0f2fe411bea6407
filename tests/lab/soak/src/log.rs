//! Where a server's log goes: into a pipe whose reader may stop, or into a file that is rotated.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How often a reader that has stopped looks whether it is to go on.
const LOOK: Duration = Duration::from_millis(20);
/// How much of the end of a pipe's log is kept: more than what waits in a server and in the pipe while nothing reads it.
const KEPT: usize = 4 << 20;
/// How many lines are shown when something went wrong.
const SHOWN: usize = 40;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    Pipe,
    File,
}

/// The end of the log that is ours.
pub enum Log {
    Pipe(Arc<Piped>),
    File(PathBuf),
}

/// What came through a pipe.
#[derive(Default)]
pub struct Piped {
    stopped: AtomicBool,
    lines: AtomicU64,
    end: Mutex<Vec<u8>>,
}

impl Log {
    /// Both ends: ours, and the server's.
    pub fn open(logging: Logging, folder: &Path) -> Result<(Self, Stdio)> {
        match logging {
            Logging::Pipe => {
                let (ours, theirs) = std::io::pipe()?;
                let piped = Arc::new(Piped::default());
                let reader = Arc::clone(&piped);
                std::thread::Builder::new().name("log".to_owned()).spawn(move || reader.read(ours))?;
                Ok((Self::Pipe(piped), theirs.into()))
            }
            Logging::File => {
                let path = folder.join("log");
                let file = File::options().create(true).append(true).open(&path)?;
                Ok((Self::File(path), file.into()))
            }
        }
    }

    /// What was logged; of a pipe the end of it.
    pub fn end(&self) -> Result<String> {
        let bytes = match self {
            Self::Pipe(piped) => piped.end.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            Self::File(path) => std::fs::read(path)?,
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The last lines, to be shown.
    pub fn last_lines(&self) -> String {
        let end = self.end().unwrap_or_default();
        let lines: Vec<_> = end.lines().collect();
        lines[lines.len().saturating_sub(SHOWN)..].join("\n")
    }

    /// How many lines there are. Of a file that was rotated, only those since.
    pub fn lines(&self) -> Result<u64> {
        match self {
            Self::Pipe(piped) => Ok(piped.lines.load(Ordering::Relaxed)),
            Self::File(_) => Ok(self.end()?.lines().count() as u64),
        }
    }

    /// Stops or goes on reading a pipe.
    pub fn stop_reading(&self, stopped: bool) {
        if let Self::Pipe(piped) = self {
            piped.stopped.store(stopped, Ordering::Relaxed);
        }
    }

    /// Copies the file and cuts it, as log rotation does for programs that keep theirs open.
    pub fn rotate(&self) -> Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        std::fs::copy(path, path.with_extension("1"))?;
        File::options().write(true).open(path)?.set_len(0).context("cutting the log")
    }

    /// Whether a file that was cut goes on from its beginning, and is no hole as long as the log was before.
    pub fn goes_on_from_the_beginning(&self) -> Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let bytes = std::fs::read(path)?;
        ensure!(!bytes.is_empty(), "nothing was logged after the rotation");
        ensure!(!bytes.contains(&0), "the log begins with a hole after the rotation");
        Ok(())
    }
}

impl Piped {
    fn read(&self, mut pipe: impl std::io::Read) {
        let mut piece = vec![0; 16 * 1024];
        loop {
            while self.stopped.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK);
            }
            let Ok(read @ 1..) = pipe.read(&mut piece) else { return };
            let lines = piece[..read].iter().filter(|byte| **byte == b'\n').count();
            self.lines.fetch_add(lines as u64, Ordering::Relaxed);
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            end.extend_from_slice(&piece[..read]);
            let surplus = end.len().saturating_sub(KEPT);
            end.drain(..surplus);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_that_was_cut_goes_on_from_its_beginning_where_its_writer_appends() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let (log, _end) = Log::open(Logging::File, folder.path())?;
        let path = folder.path().join("log");
        let (mut appends, mut keeps_its_place) =
            (File::options().append(true).open(&path)?, File::options().write(true).open(&path)?);
        appends.write_all(b"one\ntwo\n")?;
        keeps_its_place.write_all(b"one\ntwo\n")?;
        log.rotate()?;
        assert_eq!((log.lines()?, std::fs::read(folder.path().join("log.1"))?), (0, b"one\ntwo\n".to_vec()));
        assert!(log.goes_on_from_the_beginning().is_err(), "nothing was logged");
        appends.write_all(b"three\n")?;
        log.goes_on_from_the_beginning()?;
        keeps_its_place.write_all(b"four\n")?;
        assert!(log.goes_on_from_the_beginning().is_err(), "a hole");
        Ok(())
    }

    #[test]
    fn a_pipe_that_is_not_read_is_full_and_is_read_from_where_it_was() -> Result<()> {
        let (log, _) = Log::open(Logging::Pipe, Path::new("/"))?;
        let Log::Pipe(piped) = &log else { unreachable!("a pipe was asked for") };
        let (ours, mut theirs) = std::io::pipe()?;
        log.stop_reading(true);
        let reader = Arc::clone(piped);
        let reading = std::thread::spawn(move || reader.read(ours));
        theirs.write_all(b"one\n")?;
        std::thread::sleep(LOOK * 3);
        assert_eq!(log.lines()?, 0);
        log.stop_reading(false);
        theirs.write_all(b"two\n")?;
        drop(theirs);
        assert!(reading.join().is_ok());
        assert_eq!((log.lines()?, log.end()?), (2, "one\ntwo\n".to_owned()));
        Ok(())
    }
}
