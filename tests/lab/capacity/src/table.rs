//! The tables of `docs/scaling.md`.

use std::fmt::Write as _;
use std::thread;

use crate::{Outcome, Setting, simulate};

const REPLICAS: [usize; 6] = [1, 3, 10, 30, 100, 300];
const LOGOUTS: [u32; 4] = [10, 100, 1000, 5000];
/// How many replicas are tried.
const STEPS: [usize; 16] = [1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300];
/// The databases that are tried: cores, and microseconds of a flush and of a standby.
const DATABASES: [(usize, u64, u64); 6] =
    [(4, 500, 0), (8, 500, 0), (16, 500, 0), (32, 500, 0), (16, 100, 0), (16, 1000, 1000)];
/// The limits: milliseconds of 99 logouts of 100, and the share of the cores in use.
const LONGEST: f64 = 20.0;
const BUSIEST: f64 = 0.7;

/// Replicas and logouts against times and load, with notifications and without.
pub fn table(usual: &Setting) -> String {
    let mut lines = String::from(
        "| replicas | logouts/s | p50 | p99 | CPU | statements/s | batches/s | unnotified: p50 | p99 | CPU | statements/s |\n\
         | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    let rows = REPLICAS.into_iter().flat_map(|replicas| LOGOUTS.map(|logouts| (replicas, logouts)));
    let rows = side_by_side(rows, |(replicas, logouts)| {
        let setting = Setting { replicas, logouts, seconds: seconds(logouts), ..usual.clone() };
        let unnotified = Setting { unnotified: true, ..setting.clone() };
        let (notified, unnotified) = (simulate(&setting), simulate(&unnotified));
        format!(
            "| {replicas} | {logouts} | {} | {} | {} | {:.0} | {:.0} | {} | {} | {} | {:.0} |",
            milliseconds(notified.half),
            milliseconds(notified.most),
            share(notified.busy),
            notified.statements,
            notified.batches,
            milliseconds(unnotified.half),
            milliseconds(unnotified.most),
            share(unnotified.busy),
            unnotified.statements
        )
    });
    for row in rows {
        let _ = writeln!(lines, "{row}");
    }
    lines
}

/// For some databases, the most replicas within the limits.
pub fn largest(usual: &Setting) -> String {
    let mut lines = String::from("| cores | flush | standby |");
    for logouts in LOGOUTS {
        let _ = write!(lines, " {logouts}/s |");
    }
    lines.push_str("\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    let rows = side_by_side(DATABASES.into_iter(), |(cores, flush, standby)| {
        let mut row = format!("| {cores} | {} ms | {} ms |", flush as f64 / 1e3, standby as f64 / 1e3);
        for logouts in LOGOUTS {
            let borne = STEPS.partition_point(|replicas| {
                let seconds = seconds(logouts);
                let setting = Setting { replicas: *replicas, logouts, cores, flush, standby, seconds, ..usual.clone() };
                let Outcome { most, busy, .. } = simulate(&setting);
                most <= LONGEST && busy <= BUSIEST
            });
            let _ = match borne.checked_sub(1).map(|last| STEPS[last]) {
                Some(300) => write!(row, " 300 or more |"),
                Some(most) => write!(row, " {most} |"),
                None => write!(row, " none |"),
            };
        }
        row
    });
    for row in rows {
        let _ = writeln!(lines, "{row}");
    }
    lines
}

/// How long a run has to be to see some hundred logouts.
fn seconds(logouts: u32) -> u64 {
    u64::from(200 / logouts).clamp(1, 10)
}

/// Does `work` for each, on as many cores as there are.
fn side_by_side<T: Send>(of: impl Iterator<Item = T>, work: impl Fn(T) -> String + Sync) -> Vec<String> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = of.map(|each| scope.spawn(move || work(each))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_default()).collect()
    })
}

fn milliseconds(count: f64) -> String {
    match count {
        long if long > 1000.0 => String::from("over 1 s"),
        long if long >= 100.0 => format!("{long:.0} ms"),
        short => format!("{short:.1} ms"),
    }
}

fn share(of_one: f64) -> String {
    match of_one * 100.0 {
        small if small < 10.0 => format!("{small:.1} %"),
        large => format!("{large:.0} %"),
    }
}
