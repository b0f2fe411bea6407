//! The table: what was measured, the limit it is compared with, and whether the target was reached.

use std::time::Duration;

#[derive(Default)]
pub struct Report {
    /// What stands before the name of each row.
    under: Option<&'static str>,
    rows: Vec<Row>,
}

struct Row {
    what: String,
    measured: String,
    limit: String,
    ratio: String,
    target: String,
    verdict: &'static str,
}

/// A figure to reach.
#[derive(Clone, Copy)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Reported for comparison only.
    None,
}

impl Target {
    fn verdict(self, value: f64) -> &'static str {
        match self {
            Self::None => "-",
            Self::AtLeast(least) if value >= least => "met",
            Self::AtMost(most) if value <= most => "met",
            Self::AtLeast(_) | Self::AtMost(_) => "MISSED",
        }
    }

    fn text(self, show: impl Fn(f64) -> String) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {}", show(least)),
            Self::AtMost(most) => format!("<= {}", show(most)),
            Self::None => "-".to_owned(),
        }
    }
}

/// The lowest, the middle and the highest of a figure taken in several rounds.
pub struct Spread {
    pub lowest: f64,
    pub median: f64,
    pub highest: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
        } else {
            at(middle)
        };
        Self { lowest: at(0), median, highest: at(values.len().wrapping_sub(1)) }
    }
}

impl Report {
    /// A figure that is a ratio of two measured things; the median of the rounds decides.
    pub fn ratio(&mut self, what: &str, measured: String, limit: String, ratio: &Spread, target: Target) {
        self.add(Row {
            what: what.to_owned(),
            measured,
            limit,
            ratio: format!("{:.2} ({:.2}-{:.2})", ratio.median, ratio.lowest, ratio.highest),
            target: target.text(|value| format!("{value:.2}")),
            verdict: target.verdict(ratio.median),
        });
    }

    /// A figure with a limit of its own.
    pub fn figure(&mut self, what: &str, value: f64, show: impl Fn(f64) -> String, note: String, target: Target) {
        self.add(Row {
            what: what.to_owned(),
            measured: show(value),
            limit: note,
            ratio: "-".to_owned(),
            target: target.text(show),
            verdict: target.verdict(value),
        });
    }

    /// From now on rows are about this.
    pub fn under(&mut self, what: &'static str) {
        self.under = Some(what);
    }

    fn add(&mut self, mut row: Row) {
        if let Some(under) = self.under {
            row.what = format!("{under}: {}", row.what);
        }
        println!("{}", row.line(&[0; 5]));
        self.rows.push(row);
    }

    /// Prints all of it as a table of Markdown.
    pub fn print(&self) {
        let title = Row {
            what: "what".to_owned(),
            measured: "measured".to_owned(),
            limit: "beside".to_owned(),
            ratio: "ratio (min-max)".to_owned(),
            target: "target".to_owned(),
            verdict: "verdict",
        };
        let mut widths = [0; 5];
        for row in self.rows.iter().chain([&title]) {
            for (width, cell) in widths.iter_mut().zip(row.cells()) {
                *width = (*width).max(cell.chars().count());
            }
        }
        println!("\n{}\n|{}", title.line(&widths), " --- |".repeat(6));
        for row in &self.rows {
            println!("{}", row.line(&widths));
        }
    }
}

impl Row {
    fn cells(&self) -> [&str; 5] {
        [&self.what, &self.measured, &self.limit, &self.ratio, &self.target]
    }

    fn line(&self, widths: &[usize; 5]) -> String {
        let mut line = String::from("|");
        for (cell, width) in self.cells().into_iter().zip(widths) {
            line.push_str(&format!(" {cell:<width$} |"));
        }
        format!("{line} {} |", self.verdict)
    }
}

/// A count with its thousands set apart.
pub fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub fn rate(value: f64) -> String {
    format!("{}/s", number(value))
}

pub const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub fn milliseconds(value: f64) -> String {
    format!("{value:.2} ms")
}

pub fn mebibytes(value: f64) -> String {
    format!("{value:.1} MiB")
}

pub fn as_milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::{Spread, Target, number};

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        let spread = Spread::of([4.0, 1.0, 2.0, 3.0]);

        assert_eq!((spread.lowest, spread.median, spread.highest), (1.0, 2.5, 4.0));
    }

    #[test]
    fn a_missed_target_says_so() {
        assert_eq!(Target::AtLeast(0.8).verdict(0.79), "MISSED");
        assert_eq!(Target::AtMost(1.25).verdict(1.25), "met");
        assert_eq!(Target::AtMost(1.0).verdict(f64::NAN), "MISSED");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(number(999.0), "999");
        assert_eq!(number(1_234_567.0), "1,234,567");
    }
}
