//! `sessiond doctor`: tries a deployment from outside, as a user and as an attacker, and says what is wrong with it.
//!
//! It needs neither configuration nor database, and runs on any machine. `examination` has the order of the checks, each of
//! which is a function in `checks`; `findings` prints what they found, and `mend` says how to mend each of the `faults`. `client` sends
//! what they send, `site` is the page, and `account` somebody who logs in.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use url::Url;
use zeroize::Zeroizing;

use self::client::Client;
use self::examination::{Ended, Examination};
use self::findings::Report;
use self::site::{Site, root};
use super::outcome::Failed;
use super::password::PasswordArgs;
use crate::domain::entropy::SystemEntropy;
use crate::domain::id::SessionId;

mod account;
mod checks;
mod client;
mod examination;
mod faults;
mod findings;
mod mend;
mod site;

/// The arguments of `sessiond doctor`.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// A page of the application that only people who are logged in may see
    #[arg(long, value_name = "URL")]
    url: Url,
    /// Who logs in, to try what needs a session; without it those checks are left out
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    #[command(flatten)]
    password: PasswordArgs,
    /// Where people log in [default: where the page sends them]
    #[arg(long, value_name = "URL")]
    login_url: Option<Url>,
    /// Expect the page to show the headers that it was sent, in whatever form: what the application gets is seen in no other
    /// way
    #[arg(long)]
    backend_echo: bool,
    /// Certification authorities to trust beside the machine's, in PEM
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
}

/// What its help says above the options.
pub(super) const LONG: &str = "\
Try a deployment from outside, and say what is wrong with it

It asks for a protected page as a user and as an attacker would: without a session, with one, with headers that only
the proxy may send, before and after a login and a logout. Each check is a line: ok, note, FAULT with how to mend it, or
`cannot tell` with how to find out. The status is 0 only if there is no fault.

It sends fewer than 200 requests, logs in a few times, and logs out again. The password goes to the login page's origin
alone. It needs no database and no configuration: run it on a machine that people use.";

/// Runs the command.
pub(super) async fn run(asked: DoctorArgs) -> Result<(), Failed> {
    let DoctorArgs { url, username, password, login_url, backend_echo, cacert } = asked;
    let page = usable("--url", url)?;
    let login = login_url.map(|url| usable("--login-url", url).map(|url| root(&url))).transpose()?;
    let credentials = match username {
        Some(username) => Some((username, Zeroizing::new(password.enter()?))),
        None if password.is_given() => {
            return Err(Failed::Sentence("a password without a name: give --username, too".into()));
        }
        None => None,
    };
    let stopped = Arc::new(AtomicBool::new(false));
    let client = Client::new(cacert.as_deref(), Arc::clone(&stopped)).map_err(Failed::Sentence)?;
    let nonce = SessionId::random(&SystemEntropy).map_err(|error| Failed::Sentence(error.to_string()))?;
    let site = Site::new(client, page, nonce.as_str().to_lowercase());
    let mut examination =
        Examination { site, login, promised_echo: backend_echo, credentials, report: Report::new(io::stdout()) };

    let mut examined = tokio::task::spawn_blocking(move || {
        let ended = examination.run();
        ended.map(|why| (examination.report, why))
    });
    let ended = tokio::select! {
        ended = &mut examined => ended,
        _ = tokio::signal::ctrl_c() => {
            // What was begun is ended first; who asks twice does not wait for that.
            stopped.store(true, Ordering::Relaxed);
            tokio::select! {
                ended = examined => ended,
                _ = tokio::signal::ctrl_c() => return Err(Failed::Sentence("stopped; sessions may be left".into())),
            }
        }
    };
    let (mut report, why) = match ended.map_err(io::Error::other)? {
        Ok(ended) => ended,
        Err(Ended::Io(error)) => return Err(error.into()),
        Err(Ended::Client(problem)) => return Err(Failed::Sentence(problem.to_string())),
    };
    report.end(why)?;
    match report.faults() {
        0 => Ok(()),
        1 => Err(Failed::Sentence("there is 1 fault".into())),
        faults => Err(Failed::Sentence(format!("there are {faults} faults"))),
    }
}

/// A URL that requests can be sent to.
fn usable(flag: &str, mut url: Url) -> Result<Url, Failed> {
    let refuse = |why: &str| Err(Failed::Sentence(format!("{flag} {why}, such as https://app.example.com/app/")));
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return refuse("is not the URL of a page: write one of http or https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("holds a user or a password, which other users of this machine can read: write it without");
    }
    url.set_fragment(None);
    Ok(url)
}
