//! The first user: made when there is none, so that a fresh start can be logged in to.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::outcome::Failed;
use crate::app::Core;
use crate::config::Config;
use crate::domain::entropy::{Entropy as _, SystemEntropy};
use crate::service::first_password::FirstPassword;
use crate::service::{self, Error};
use crate::store::opening::PATIENCE;

/// The first user, who has been made, and how to show the operator the password.
pub(super) struct FirstAdmin {
    username: String,
    password: ShownPassword,
}

/// How long after a failure the store is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// How the operator is shown the first password.
enum ShownPassword {
    /// It was configured, so it is not shown.
    Configured,
    /// It is printed to the terminal, once.
    OnTerminal(String),
    /// It is in this file.
    InFile(PathBuf),
}

impl FirstAdmin {
    /// Makes the first user. If there is a user already, it only reminds the operator where the first password was not
    /// changed yet. Without a configured password a random one is made; where there is no terminal to show it on, it is
    /// kept in a file that only its owner can read, written before the user is.
    pub(super) async fn make(config: &Config, core: &Core) -> Result<Option<Self>, Failed> {
        let operator = core.service.operator();
        if !answered(async || operator.is_first_start().await).await? {
            Self::remind(core).await?;
            if !answered(async || operator.has_administrator().await).await? {
                tracing::warn!(
                    "no administrator can log in: make one, with `sessiond user edit NAME --admin` or \
                     `sessiond user add NAME --admin`"
                );
            }
            return Ok(None);
        }
        let username = config.first_admin.username.clone();
        let (password, shown) = match &config.first_admin.password {
            Some(chosen) => (chosen.reveal().to_owned(), ShownPassword::Configured),
            None => {
                let random = random_password()?;
                let shown = if io::stdout().is_terminal() {
                    ShownPassword::OnTerminal(random.clone())
                } else {
                    ShownPassword::InFile(keep(config, &random)?)
                };
                (random, shown)
            }
        };
        match operator.add_first_user(&username, password).await {
            Ok(user) => {
                match &shown {
                    ShownPassword::Configured => {}
                    ShownPassword::OnTerminal(_) | ShownPassword::InFile(_) => {
                        answered(async || operator.mark_first_password(user.id).await).await?;
                    }
                }
                Ok(Some(Self { username, password: shown }))
            }
            // Of several servers that start at the same time on an empty database, one makes the first user, whatever the
            // others would call theirs.
            Err(Error::Conflict(_)) => {
                if let ShownPassword::InFile(path) = shown {
                    // The password in the file belongs to no user.
                    let _ = fs::remove_file(path);
                }
                Ok(None)
            }
            Err(error) => Err(Failed::Sentence(format!(
                "the first user cannot be made from admin_username and admin_password: {error}"
            ))),
        }
    }

    /// Logs at each later start that the first password is still the one that was made up.
    async fn remind(core: &Core) -> Result<(), Failed> {
        let operator = core.service.operator();
        let (user, file) = match answered(async || operator.first_password().await).await? {
            (FirstPassword::InUse(user), file) => (user, file),
            (FirstPassword::Unknown | FirstPassword::Changed, _) => return Ok(()),
        };
        let username = user.username.as_str();
        let advice = format!(
            "the password that was made up at the first start is still in use: change it, with `sessiond user passwd {username}` or by logging in"
        );
        match file {
            Some(file) => tracing::warn!(username, password_file = %file.display(), "{advice}"),
            None => tracing::warn!(username, "{advice}"),
        }
        Ok(())
    }

    /// Shows how to log in.
    pub(super) fn announce(self, origin: &str, say: impl Fn(&str) -> Result<(), Failed>) -> Result<(), Failed> {
        let Self { username, password } = self;
        match password {
            ShownPassword::Configured => tracing::info!(username, "made the first user"),
            ShownPassword::InFile(path) => {
                tracing::info!(username, password_file = %path.display(), "made the first user; change the password, and the file is deleted");
            }
            ShownPassword::OnTerminal(password) => say(&format!(
                "\nMade the first user. The password is shown this once:\n\n    username  {username}\n    password  {password}\n\n\
                 Log in at {origin}/login, or by\n\n    curl -i {origin}/api/v1/auth/login -H 'Content-Type: application/json' \\\n        \
                 -d '{{\"username\":\"{username}\",\"password\":\"{password}\"}}'\n"
            ))?,
        }
        Ok(())
    }
}

/// The answer of the store, which is asked again while it fails: its database may be restarted in the middle of a start.
async fn answered<T>(ask: impl AsyncFn() -> service::Result<T>) -> service::Result<T> {
    let until = Instant::now() + PATIENCE;
    loop {
        match ask().await {
            Err(Error::StoreUnreachable(_) | Error::StoreTooSlow(_)) if Instant::now() < until => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

/// 128 bits, in letters that are not mistaken for others.
fn random_password() -> Result<String, Failed> {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes).map_err(|error| Failed::Sentence(error.to_string()))?;
    let (groups, _) = bytes.as_chunks::<4>();
    Ok(groups.iter().map(|group| format!("{:08x}", u32::from_be_bytes(*group))).collect::<Vec<_>>().join("-"))
}

fn keep(config: &Config, password: &str) -> Result<PathBuf, Failed> {
    let path = config.database_url.first_password_file();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // A file that exists already may be readable by others, and would stay so.
    let removed = match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    };
    let written = removed.and_then(|()| options.open(&path)).and_then(|mut file| {
        writeln!(file, "{password}")?;
        file.sync_all()
    });
    written.map_err(|error| {
        Failed::Sentence(format!("the first password cannot be kept in {}: {error}", path.display()))
    })?;
    Ok(path)
}
