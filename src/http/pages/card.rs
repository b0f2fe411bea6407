//! A session as pages show it, and times in words.

use std::cmp::Reverse;

use super::texts::Texts;
use crate::domain::clock::Timestamp;
use crate::domain::device::Device;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::domain::text::visible;

/// What a page shows of a session.
pub struct Card<'c> {
    pub id: &'c str,
    /// The outline of the device.
    pub icon: &'static str,
    /// The device in words.
    pub device: String,
    pub ip: &'c str,
    pub created: Time,
    pub seen: Time,
    /// Whether it is the session that the page was asked for in.
    pub current: bool,
}

/// A time, for machines and for people.
pub struct Time {
    /// To the millisecond, as RFC 3339.
    pub exact: String,
    /// To the minute.
    pub date: String,
    /// How long ago it was.
    pub ago: String,
}

impl Time {
    /// A time as it is told at `now`.
    pub fn new(at: Timestamp, now: Timestamp, t: &Texts) -> Self {
        Self { exact: at.rfc3339(), date: t.date(at), ago: t.ago(now.since(at)) }
    }
}

impl<'c> Card<'c> {
    /// The card of a session, on a page asked for in the session `current`.
    pub fn new(session: &'c Session, current: SessionId, now: Timestamp, t: &Texts) -> Self {
        let device = Device::from_user_agent(&session.client.user_agent);
        Self {
            id: session.id.as_str(),
            icon: icon(&device),
            ip: &session.client.ip,
            created: Time::new(session.created_at, now, t),
            seen: Time::new(session.last_seen_at, now, t),
            current: session.id == current,
            device: in_words(device, t),
        }
    }
}

/// The cards of a user's sessions, the one seen last first.
pub fn cards<'c>(sessions: &'c mut [Session], current: SessionId, now: Timestamp, t: &Texts) -> Vec<Card<'c>> {
    sessions.sort_by_key(|session| Reverse((session.last_seen_at.millis(), session.id)));
    sessions.iter().map(|session| Card::new(session, current, now, t)).collect()
}

fn in_words(Device { name, os_name, .. }: Device, t: &Texts) -> String {
    let (name, os_name) = (visible(&name), visible(&os_name));
    match (name.is_empty(), os_name.is_empty()) {
        (true, true) => t.unknown_device.to_owned(),
        (false, true) => name,
        (true, false) => os_name,
        (false, false) => format!("{name} {} {os_name}", t.on),
    }
}

/// The outline of a device, as the path of an SVG of 24 by 24.
fn icon(device: &Device) -> &'static str {
    const DESKTOP: &str = "M3 5h18v11H3zM9 20h6M12 16v4";
    const TABLET: &str = "M5 3h14v18H5zM11 18h2";
    const PHONE: &str = "M7 3h10v18H7zM11 18h2";
    const PROGRAM: &str = "M3 5h18v14H3zM7 9l3 3-3 3M12 15h5";
    const UNKNOWN: &str =
        "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18M9.500 9.500a2.500 2.500 0 1 1 3.500 2.300c-.7.3-1 .8-1 1.700M12 16.500v.1";
    match device.kind {
        "desktop" => DESKTOP,
        "mobile" if device.os_name == "iPad" => TABLET,
        "mobile" => PHONE,
        _ if device.name.is_empty() => UNKNOWN,
        _ => PROGRAM,
    }
}
