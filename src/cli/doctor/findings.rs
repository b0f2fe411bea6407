//! What is found out: one outcome for each check, printed as soon as it is known.

use std::io::{self, Write};

use super::faults::Fault;

/// What is tried, in the order in which it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// The page answers at all.
    Reached,
    /// It is refused without a session.
    Protected,
    /// A browser is sent to the login page.
    Navigation,
    /// And from there back to exactly this page.
    ReturnAddress,
    /// A script is answered 401.
    Fetch,
    /// No cache keeps a refusal.
    RefusalHeaders,
    /// A client cannot say which page was asked for.
    ForwardedHeaders,
    /// Nor is it allowed by other methods.
    Methods,
    /// A client cannot say who it is, without a session.
    Claims,
    /// The login page is shown.
    LoginPage,
    /// Nothing secret goes over the network in clear.
    Encryption,
    /// Somebody can log in.
    Login,
    /// The session cookie is set as it has to be.
    CookieAttributes,
    /// Browsers send it to the page.
    CookieReach,
    /// With it the page is allowed.
    Session,
    /// The login page leads back.
    WayBack,
    /// The application is told by sessiond alone who is calling.
    IdentityHeaders,
    /// Whether the application gets the session cookie.
    BackendCookie,
    /// Cookies of other applications do no harm.
    OtherCookies,
    /// A session knows where its client is.
    ClientAddress,
    /// The server's clock is right.
    Clock,
    /// Sessions last as long as they should.
    Lifetimes,
    /// No answer to a check is kept.
    Cache,
    /// Logging out ends the session at once.
    Logout,
    /// All servers run one build.
    Builds,
    /// What was begun was ended.
    CleanUp,
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 26] = [
        Self::Reached,
        Self::Protected,
        Self::Navigation,
        Self::ReturnAddress,
        Self::Fetch,
        Self::RefusalHeaders,
        Self::ForwardedHeaders,
        Self::Methods,
        Self::Claims,
        Self::LoginPage,
        Self::Encryption,
        Self::Login,
        Self::CookieAttributes,
        Self::CookieReach,
        Self::Session,
        Self::WayBack,
        Self::IdentityHeaders,
        Self::BackendCookie,
        Self::OtherCookies,
        Self::ClientAddress,
        Self::Clock,
        Self::Lifetimes,
        Self::Cache,
        Self::Logout,
        Self::Builds,
        Self::CleanUp,
    ];

    /// Its name in the output, by which scripts can find it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reached => "reached",
            Self::Protected => "protected",
            Self::Navigation => "navigation",
            Self::ReturnAddress => "return-address",
            Self::Fetch => "fetch",
            Self::RefusalHeaders => "refusal-headers",
            Self::ForwardedHeaders => "forwarded-headers",
            Self::Methods => "methods",
            Self::Claims => "claims",
            Self::LoginPage => "login-page",
            Self::Encryption => "encryption",
            Self::Login => "login",
            Self::CookieAttributes => "cookie-attributes",
            Self::CookieReach => "cookie-reach",
            Self::Session => "session",
            Self::WayBack => "way-back",
            Self::IdentityHeaders => "identity-headers",
            Self::BackendCookie => "back-end-cookie",
            Self::OtherCookies => "other-cookies",
            Self::ClientAddress => "client-address",
            Self::Clock => "clock",
            Self::Lifetimes => "lifetimes",
            Self::Cache => "cache",
            Self::Logout => "logout",
            Self::Builds => "builds",
            Self::CleanUp => "clean-up",
        }
    }
}

/// What a check found out, in a sentence.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it should be.
    Ok(String),
    /// It is as it may be, and worth knowing.
    Note(String),
    /// It is not as it should be.
    Fault(Fault, String),
    /// This cannot be told from here; how it can be.
    CannotTell(String),
}

/// Everything that was found out so far.
pub struct Report<W> {
    to: W,
    made: Vec<Check>,
    faults: usize,
    open: usize,
}

impl<W: Write> Report<W> {
    /// An empty one, which prints what is added to it.
    pub fn new(to: W) -> Self {
        Self { to, made: Vec::new(), faults: 0, open: 0 }
    }

    /// How many faults there are.
    pub fn faults(&self) -> usize {
        self.faults
    }

    /// Prints what a check found out.
    pub fn add(&mut self, check: Check, outcome: &Outcome) -> io::Result<()> {
        self.made.push(check);
        let (word, sentence) = match outcome {
            Outcome::Ok(sentence) => ("ok", sentence),
            Outcome::Note(sentence) => ("note", sentence),
            Outcome::CannotTell(sentence) => {
                self.open += 1;
                ("cannot tell", sentence)
            }
            Outcome::Fault(_, sentence) => {
                self.faults += 1;
                ("FAULT", sentence)
            }
        };
        writeln!(self.to, "{word:<11}  {}: {}", check.name(), printable(sentence))?;
        if let Outcome::Fault(fault, _) = outcome {
            let mend = fault.mend();
            writeln!(self.to, "{:<11}  To mend it: {}", "", mend.how)?;
            for (proxy, how) in mend.by_proxy {
                writeln!(self.to, "{:<11}    {proxy}: {how}", "")?;
            }
        }
        self.to.flush()
    }

    /// Prints which checks were left out, and the sums.
    pub fn end(&mut self, why_left_out: &str) -> io::Result<()> {
        let left_out: Vec<_> =
            Check::ALL.iter().filter(|check| !self.made.contains(check)).map(|check| check.name()).collect();
        if !left_out.is_empty() {
            writeln!(self.to, "{:<11}  {}. {why_left_out}", "left out", left_out.join(", "))?;
        }
        let sums = [
            counted(self.made.len(), "check"),
            counted(self.faults, "fault"),
            format!("{} that cannot be told from here", self.open),
            format!("{} left out", left_out.len()),
        ];
        writeln!(self.to, "\n{}.", sums.join(", "))
    }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Without what could move a terminal's cursor: parts of it come from answers.
fn printable(sentence: &str) -> String {
    sentence.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_listed_once_by_a_name_of_its_own() {
        let mut names: Vec<_> = Check::ALL.iter().map(|check| check.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Check::ALL.len());
    }

    #[test]
    fn a_fault_is_printed_with_how_to_mend_it_and_nothing_moves_the_cursor() {
        let mut printed = Vec::new();
        let mut report = Report::new(&mut printed);
        report
            .add(Check::Protected, &Outcome::Fault(Fault::NotProtected, "It is \u{1b}[2J200.".into()))
            .expect("written");
        report.add(Check::Reached, &Outcome::Ok("Yes.".into())).expect("written");
        report.end("Because.").expect("written");
        assert_eq!(report.faults(), 1);
        let text = String::from_utf8(printed).expect("UTF-8");
        assert!(text.starts_with("FAULT        protected: It is \u{fffd}[2J200.\n             To mend it: "), "{text}");
        assert!(text.contains("\n               nginx: ") && text.contains("\nok           reached: Yes.\n"), "{text}");
        assert!(text.contains("\nleft out     navigation, return-address, "), "{text}");
        assert!(text.ends_with("\n2 checks, 1 fault, 0 that cannot be told from here, 24 left out.\n"), "{text}");
    }
}
