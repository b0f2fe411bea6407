//! Whether the time of a refused login tells whom it was about: interleaved tries at users of every kind.

use std::time::Instant;

use anyhow::{Result, ensure};
use sessiond_support::{database, http::Connection};

use crate::{
    report::{Report, Spread, Target, as_milliseconds, milliseconds},
    requests::login,
    stage::{Stage, username},
};

/// How often each kind is tried, each time with a user of its own, so that no throttle comes into it.
const TRIES: usize = 40;
/// How far the median of a kind may lie from that of all, in percent.
const APART: f64 = 5.0;
const WRONG: &str = "wrong-7Qp2-staple-kV9x";

/// A kind of user: its name, and what is changed about such users, with a `#` for where a username belongs.
type Kind = (&'static str, Option<&'static str>);

const OURS: [Kind; 4] = [
    ("known", None),
    // It has a name that nobody has.
    ("unknown", Some("")),
    ("disabled", Some("UPDATE users SET disabled_at = 1 WHERE username = '#'")),
    ("without a password", Some("UPDATE users SET password_hash = '!' WHERE username = '#'")),
];

/// Whatever a hash is of, a wrong password takes as long.
const FOREIGN: [Kind; 4] = [
    (
        "bcrypt of cost 5",
        Some(
            "UPDATE users SET password_hash = 'bcrypt:$2y$05$XqvYTcURHSKthcnRNvQNHO2Wcay4KJmVpRoMUFiMIcRc.CMzJEYI.' WHERE username = '#'",
        ),
    ),
    (
        "bcrypt of cost 10",
        Some(
            "UPDATE users SET password_hash = 'rocketchat:$2b$10$bepkAlFdEWfDZjOLgw50begvAy/lKIW.6DMPj8enI6Uorb6DezNwu' WHERE username = '#'",
        ),
    ),
    (
        "scrypt of 32 MiB",
        Some(
            "UPDATE users SET password_hash = 'scrypt:$scrypt$ln=15,r=8,p=1$c2FsdHNhbHRzYWx0c2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY' WHERE username = '#'",
        ),
    ),
    (
        "PBKDF2 of 600,000 iterations",
        Some(
            "UPDATE users SET password_hash = 'pbkdf2:$pbkdf2-sha256$i=600000,l=32$c2FsdHNhbHRzYWx0c2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY' WHERE username = '#'",
        ),
    ),
];

/// Refusals where all hashes were made here, and where some came from elsewhere.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    measure(stage, report, "refusals, hashes of ours", &OURS).await?;
    measure(stage, report, "refusals, hashes from elsewhere", &[OURS, FOREIGN].concat()).await
}

async fn measure(stage: &mut Stage, report: &mut Report, what: &str, kinds: &[Kind]) -> Result<()> {
    let population = stage.population(TRIES * kinds.len()).await?;
    let users: Vec<_> =
        (0..TRIES * kinds.len()).map(|number| (username(number), kinds[number % kinds.len()])).collect();
    let changes = users.iter().filter_map(|(name, (_, change))| change.map(|change| change.replace('#', name)));
    let changes: Vec<_> = changes.filter(|change| !change.is_empty()).collect();
    database::execute(&population.url, &changes.join(";")).await?;
    let server = stage.serve(&population).await?;
    let mut connection = Connection::open(server.address).await?;
    let mut times = vec![Vec::new(); kinds.len()];
    for (number, (name, (_, change))) in users.iter().enumerate() {
        let name = if *change == Some("") { name.replace("user", "none") } else { name.clone() };
        let begun = Instant::now();
        let status = connection.exchange_or_reconnect(&login(&name, WRONG)).await?;
        ensure!(status == 401, "{name}: {status}");
        times[number % kinds.len()].push(as_milliseconds(begun.elapsed()));
    }
    server.stop().await?;
    let all = Spread::of(times.concat()).median;
    let mut apart = 0.0_f64;
    for ((kind, _), times) in kinds.iter().zip(times) {
        let Spread { lowest, median, highest } = Spread::of(times);
        println!("  {kind}: {} ({lowest:.2}-{highest:.2})", milliseconds(median));
        apart = apart.max(((median - all) / all * 100.0).abs());
    }
    let percent = |value: f64| format!("{value:.1} %");
    let note = format!("median {}, {} kinds", milliseconds(all), kinds.len());
    report.figure(what, apart, percent, note, Target::AtMost(APART));
    Ok(())
}
