//! Limits on tries: honest logins beside a siege, refusals a second, and what the time of a refusal tells of a name.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use sessiond_support::database;

use crate::{
    load::{Load, Outcome},
    report::{self, Report, Spread, Target, as_milliseconds},
    requests::{Prebuilt, login, login_from},
    server::PASSWORD,
    stage::{Stage, username},
};

/// Accounts.
const ACCOUNTS: usize = 1_000;
/// Those who log in once during the siege, each from an address of their own, and how many a second.
const HONEST: usize = 45;
const HONEST_RATE: u32 = 4;
/// Connections that try wrong passwords without a pause, and from how many addresses.
const SIEGE: usize = 200;
const ADDRESSES: usize = 4;
/// As many as are tried in the time: each name is a new one, so that only its address is counted.
const NAMES: usize = 100_000;
const SIEGE_LENGTH: Duration = Duration::from_secs(14);
/// This process says which address a request comes from.
const BEHIND_A_PROXY: [(&str, &str); 1] = [("SESSIOND_TRUSTED_PROXIES", "127.0.0.1")];
/// Wrong passwords of each kind of name. The kinds take turns, so that what else the machine does slows all of them down alike.
const TRIES: usize = 200;

/// All of them.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    siege(stage, report).await?;
    refusals(stage, report).await?;
    equality(stage, report).await
}

/// Honest people log in once each while others try wrong passwords.
async fn siege(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(ACCOUNTS).await?;
    let server = stage.serve_with(&population, &BEHIND_A_PROXY).await?;
    let wrong = |number: usize| {
        login_from(&format!("203.0.113.{}", number % ADDRESSES), &format!("guessed{number:07}"), "a wrong password")
    };
    let right = |number: usize| login_from(&format!("198.51.100.{number}"), &username(number), PASSWORD);
    let (attack, honest): (Arc<[_]>, Arc<[_]>) = ((0..NAMES).map(wrong).collect(), (0..HONEST).map(right).collect());
    let (attacked, honest) = tokio::try_join!(
        Load::new(server.address, &[401, 429, 503]).over(SIEGE).closed(SIEGE_LENGTH, Prebuilt::endless(&attack)),
        Load::new(server.address, &[200, 429, 503]).over(HONEST).open(
            HONEST_RATE,
            SIEGE_LENGTH,
            Prebuilt::once_each(&honest)
        ),
    )?;
    server.stop().await?;
    report.figure(
        &format!("of {HONEST} honest logins beside {SIEGE} connections that guess, answered with a session"),
        honest.statuses.get(&200).copied().unwrap_or_default() as f64,
        report::number,
        format!("p50 {:.0} ms; the others: {}", as_milliseconds(honest.quantile(0.5)), attacked.counts()),
        Target::AtLeast(44.0),
    );
    Ok(())
}

/// Tries that must wait, as fast as they are refused.
async fn refusals(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(ACCOUNTS).await?;
    let server = stage.serve(&population).await?;
    let guesses: Arc<[_]> = [login(&username(0), "a wrong password")].into();
    let load = Load::new(server.address, &[401, 429, 503]);
    let outcome = load.closed(stage.round * stage.rounds, Prebuilt::endless(&guesses)).await?;
    server.stop().await?;
    report.figure(
        "tries of one name that must wait",
        outcome.rate(),
        report::rate,
        format!("p99 {:.1} ms; {}", as_milliseconds(outcome.quantile(0.99)), outcome.counts()),
        Target::None,
    );
    Ok(())
}

/// The time of a refusal, whatever it is for. Each name is tried once.
async fn equality(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(ACCOUNTS).await?;
    let of = |kind: usize| (kind * TRIES..(kind + 1) * TRIES).map(username).collect::<Vec<_>>();
    let (wrong, disabled, no_password) = (of(0), of(1), of(2));
    for (names, change) in [(&disabled, "disabled_at = 1"), (&no_password, "password_hash = '!'")] {
        let (first, last) = (&names[0], &names[TRIES - 1]);
        let sql = format!("UPDATE users SET {change} WHERE username BETWEEN '{first}' AND '{last}'");
        database::execute(&population.url, &sql).await?;
    }
    let unknown = (0..TRIES).map(|number| format!("nobody{number:05}")).collect();
    let server = stage.serve(&population).await?;
    let kinds = [
        ("known, wrong password", wrong, "a wrong password"),
        ("unknown", unknown, PASSWORD),
        ("disabled, right password", disabled, PASSWORD),
        ("without a password", no_password, PASSWORD),
    ];
    let mut outcomes = Vec::new();
    for _ in &kinds {
        outcomes.push(Outcome::empty()?);
    }
    for turn in 0..TRIES {
        for ((_, names, password), outcome) in kinds.iter().zip(&mut outcomes) {
            let requests: Arc<[_]> = [login(&names[turn], password)].into();
            let load = Load::new(server.address, &[401]).over(1);
            outcome.add(&load.closed(Duration::from_secs(10), Prebuilt::once_each(&requests)).await?)?;
        }
    }
    server.stop().await?;
    let medians: Vec<_> = outcomes.iter().map(|outcome| as_milliseconds(outcome.quantile(0.5))).collect();
    let shown: Vec<_> = kinds.iter().zip(&medians).map(|((kind, ..), p50)| format!("{kind} {p50:.2} ms")).collect();
    let (shortest, longest) =
        medians.iter().fold((f64::MAX, 0.0_f64), |(low, high), p50| (low.min(*p50), high.max(*p50)));
    report.ratio(
        "refusals, longest against shortest median",
        shown.join(", "),
        format!("{TRIES} of each"),
        &Spread::of([longest / shortest]),
        Target::AtMost(1.05),
    );
    Ok(())
}
