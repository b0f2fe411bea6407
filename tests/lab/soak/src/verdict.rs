//! What was found, held against what is wanted.

use std::fmt::Write as _;

/// Rows of a table in the end.
#[derive(Default)]
pub struct Verdict(Vec<Row>);

struct Row {
    what: String,
    found: String,
    wanted: String,
    met: Option<bool>,
}

impl Verdict {
    /// Something that is wanted.
    pub fn add(&mut self, what: impl Into<String>, found: impl Into<String>, wanted: impl Into<String>, met: bool) {
        self.row(what.into(), found.into(), wanted.into(), Some(met));
    }

    /// Something worth knowing.
    pub fn note(&mut self, what: impl Into<String>, found: impl Into<String>) {
        self.row(what.into(), found.into(), "-".to_owned(), None);
    }

    fn row(&mut self, what: String, found: String, wanted: String, met: Option<bool>) {
        let row = Row { what, found, wanted, met };
        println!("  {}", row.text().trim_end());
        self.0.push(row);
    }

    /// Prints the table. Returns whether everything is as it is wanted.
    pub fn print(&self) -> bool {
        let mut table = String::from("\n| what | found | wanted | |\n| --- | --- | --- | --- |\n");
        self.0.iter().for_each(|row| table += &row.text());
        print!("{table}");
        self.0.iter().all(|row| row.met != Some(false))
    }
}

impl Row {
    fn text(&self) -> String {
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "-",
        };
        let mut text = String::new();
        let _ = writeln!(text, "| {} | {} | {} | {met} |", self.what, self.found, self.wanted);
        text
    }
}
