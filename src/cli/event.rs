//! `sessiond event`: what the audit holds.

use std::fmt::Write as _;
use std::io;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::outcome::{Failed, note, say};
use crate::app::Core;
use crate::domain::clock::Timestamp;
use crate::domain::event::EventKind;
use crate::service::Error;
use crate::service::audit::EventView;
use crate::store::{EventFilter, StoredEvent};

/// How many events are read at a time.
const PAGE: usize = 500;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List events, newest first
    ///
    /// One a line, in columns: time, kind, address of the client or `-`, actor, user, how many such events it stands for,
    /// detail, session, id of the request, and `User-Agent`. What a client chose is in quotes, with everything escaped that
    /// would not print.
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Those of this user, by id, username or e-mail address: what happened to them and what they did
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Those of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(EventKind::ALL.iter().map(|kind| kind.as_str())))]
    kind: Option<String>,
    /// Those that did not happen before this time, such as 2026-01-02T03:04:05Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Those that happened before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// How many at most
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Write each as a line of JSON, as the API shows it
    #[arg(long)]
    json: bool,
}

/// Reads a time, for clap.
pub(super) fn time(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text).ok_or("write a time with its zone, such as 2026-01-02T03:04:05Z")
}

/// Runs the command.
pub(super) async fn run(command: Command, core: &Core) -> Result<(), Failed> {
    let Command::List(ListArgs { user, kind, since, until, mut limit, json }) = command;
    let operator = core.service.operator();
    let user = match user {
        None => None,
        Some(text) => Some(match operator.user(&text).await {
            Ok(user) => user.id,
            // Users who were deleted are still in the audit, by their ids.
            Err(Error::NotFound) => text.parse().map_err(|_| Failed::Sentence(format!("there is no user `{text}`")))?,
            Err(error) => return Err(error.into()),
        }),
    };
    let filter = EventFilter { user, kind, since, until };
    let (mut before, mut last) = (None, None);
    while limit > 0 {
        let page = operator.events(&filter, before, limit.min(PAGE)).await?;
        limit -= page.events.len();
        for event in &page.events {
            say(if json { line_of_json(event)? } else { line(event) })?;
            last = Some(event.at);
        }
        before = page.next;
        if before.is_none() {
            return Ok(());
        }
    }
    if let Some(last) = last {
        note(format_args!("there are older ones: name a --limit, or --until {}", last.rfc3339()));
    }
    Ok(())
}

fn line(event: &StoredEvent) -> String {
    let known = |text: &Option<String>| text.as_ref().map_or_else(|| String::from("-"), |text| format!("{text:?}"));
    let id = |text: &Option<String>| text.clone().unwrap_or_else(|| String::from("-"));
    format!(
        "{}  {}  {}  {} {}  {} {}  {}  {}  {}  {}  {}",
        event.at.rfc3339(),
        event.kind,
        event.ip.as_deref().unwrap_or("-"),
        event.actor,
        known(&event.actor_name),
        id(&event.user_id),
        known(&event.name),
        event.count,
        known(&event.detail),
        id(&event.session_id),
        known(&event.request_id),
        known(&event.user_agent),
    )
}

/// A line of JSON in which everything is escaped that a terminal would not print.
fn line_of_json(event: &StoredEvent) -> Result<String, Failed> {
    let json = serde_json::to_string(&EventView::from_stored(event)).map_err(io::Error::other)?;
    let mut line = String::with_capacity(json.len());
    for letter in json.chars() {
        if (letter.is_ascii() && !letter.is_control()) || letter.escape_debug().next() != Some('\\') {
            line.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        }
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::EventNumber;

    fn event(user_agent: &str) -> StoredEvent {
        StoredEvent {
            number: EventNumber(7),
            at: Timestamp::from_millis(0),
            kind: String::from("login_failed"),
            actor: String::from("anonymous"),
            actor_name: None,
            user_id: None,
            name: Some(String::from("eve from 1.2.3.4")),
            session_id: None,
            ip: Some(String::from("192.0.2.1")),
            user_agent: Some(user_agent.to_owned()),
            detail: None,
            request_id: None,
            count: 1,
        }
    }

    #[test]
    fn what_a_client_sent_makes_no_line_of_its_own_and_moves_no_cursor() {
        for nasty in
            ["a\r\nb", "\u{1b}[31mred", "a\u{2028}b", "a\u{202e}b", "a\u{7f}\u{9b}b", "\"quoted\" \\ and so on"]
        {
            let event = event(nasty);
            for line in [line(&event), line_of_json(&event).expect("JSON")] {
                assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}' || c == '\u{202e}'), "{line:?}");
            }
            let read: serde_json::Value = serde_json::from_str(&line_of_json(&event).expect("JSON")).expect("JSON");
            assert_eq!(read["user_agent"], nasty, "nothing is lost");
        }
        let line = line(&event("curl"));
        assert!(
            line.starts_with("1970-01-01T00:00:00.000Z  login_failed  192.0.2.1  anonymous -  - \"eve from 1.2.3.4\""),
            "{line}"
        );
    }
}
