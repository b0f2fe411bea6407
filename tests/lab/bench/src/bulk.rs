//! An administrator ends 100,000 sessions by one filter, beside checks.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sessiond_support::http::Connection;

use crate::{
    load::Load,
    report::{self, Report, Target, as_milliseconds},
    requests::{Checks, login, post},
    server::{ADMIN, PASSWORD},
    stage::Stage,
};

/// Sessions that the filter fits.
const SESSIONS: usize = 100_000;
/// Checks a second beside, for so long.
const CHECKS: u32 = 500;
const LENGTH: Duration = Duration::from_secs(15);
/// What every seeded session's `User-Agent` has in it, and the administrator's has not.
const PART: &str = "Firefox/140";

/// The administrator's request is sent when the checks have begun.
pub async fn run(stage: &mut Stage, report: &mut Report) -> Result<()> {
    let population = stage.population(SESSIONS).await?;
    let server = stage.serve(&population).await?;
    population.warm(&server, population.all()).await?;
    let mut administrator = Connection::open(server.address).await?;
    ensure!(administrator.exchange(&login(ADMIN, PASSWORD)).await? == 200, "the administrator could not log in");
    let body: Value = serde_json::from_slice(administrator.body())?;
    let token = body["token"].as_str().context("no token")?.to_owned();
    let revoke = async {
        tokio::time::sleep(LENGTH / 5).await;
        let begun = Instant::now();
        let filter = json!({"filter": {"user_agent": PART}, "expect": SESSIONS}).to_string();
        let headers = format!("authorization: Bearer {token}\r\n");
        let revoke = post("/api/v1/admin/sessions/revoke", &headers, "application/json", filter.as_bytes());
        let status = administrator.exchange(&revoke).await?;
        let answer: Value = serde_json::from_slice(administrator.body())?;
        ensure!(status == 200 && answer == json!({"revoked": SESSIONS}), "{status}: {answer}");
        Ok(begun.elapsed())
    };
    let checks = Checks::over(&population.tokens, population.all());
    let (checked, took) =
        tokio::try_join!(Load::new(server.address, &[200, 401]).open(CHECKS, LENGTH, checks), revoke)?;
    server.stop().await?;
    let sessions = report::number(SESSIONS as f64);
    report.figure(
        &format!("{sessions} sessions ended by a filter"),
        as_milliseconds(took),
        report::milliseconds,
        "one answer".to_owned(),
        Target::None,
    );
    report.figure(
        &format!("{sessions} sessions ended by a filter: p99 of {CHECKS} checks/s beside"),
        as_milliseconds(checked.quantile(0.99)),
        report::milliseconds,
        format!("longest {:.1} ms; {}", as_milliseconds(checked.quantile(1.0)), checked.counts()),
        Target::AtMost(10.0),
    );
    Ok(())
}
