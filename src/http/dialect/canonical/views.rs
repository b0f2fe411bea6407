//! Users and sessions as the canonical API and that of administrators show them.

use serde::Serialize;

use crate::domain::device::Device;
use crate::domain::id::SessionId;
use crate::domain::session::Session;
use crate::domain::text::Email;
use crate::domain::user::User;

/// A user as the canonical API shows them.
#[derive(Debug, Serialize)]
pub struct UserView<'u> {
    id: &'u str,
    username: &'u str,
    email: Option<&'u str>,
    name: &'u str,
    admin: bool,
    created_at: String,
}

impl<'u> UserView<'u> {
    /// The view of a user.
    pub fn from_user(user: &'u User) -> Self {
        Self {
            id: user.id.as_str(),
            username: user.username.as_str(),
            email: user.email.as_ref().map(Email::as_str),
            name: user.name.as_str(),
            admin: user.admin,
            created_at: user.created_at.rfc3339(),
        }
    }
}

/// A session as the canonical API shows it.
#[derive(Debug, Serialize)]
pub struct SessionView<'s> {
    id: &'s str,
    created_at: String,
    last_seen_at: String,
    expires_at: String,
    idle_expires_at: String,
    current: bool,
    ip: &'s str,
    user_agent: &'s str,
    device: DeviceView,
}

#[derive(Debug, Serialize)]
struct DeviceView {
    r#type: &'static str,
    name: String,
    os: String,
}

impl<'s> SessionView<'s> {
    /// The view of a session, by a caller whose own is `current`.
    pub fn from_session(session: &'s Session, current: SessionId) -> Self {
        let device = Device::from_user_agent(&session.client.user_agent);
        Self {
            id: session.id.as_str(),
            created_at: session.created_at.rfc3339(),
            last_seen_at: session.last_seen_at.rfc3339(),
            expires_at: session.expiry.absolute.rfc3339(),
            idle_expires_at: session.expiry.idle.rfc3339(),
            current: session.id == current,
            ip: &session.client.ip,
            user_agent: &session.client.user_agent,
            device: DeviceView { r#type: device.kind, name: device.name, os: device.os_name },
        }
    }
}
