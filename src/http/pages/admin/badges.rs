//! What stands out about a user, beside their name.

use crate::domain::id::UserId;
use crate::domain::user::Account;
use crate::http::pages::texts::Texts;

/// A word or two.
pub struct Badge {
    pub text: &'static str,
    /// Whether it is about something that was taken away.
    pub taken: bool,
}

/// Those of a user, on a page for the administrator `reader`.
pub fn badges(account: &Account, reader: UserId, t: &Texts) -> Vec<Badge> {
    let Account { user, must_change_password, last_login_at: _, second_factor } = account;
    let all = [
        (user.id == reader, t.admin.yourself, false),
        (user.admin, t.admin.is_admin, false),
        (user.disabled_at.is_some(), t.admin.disabled, true),
        (*must_change_password, t.admin.must_change, false),
        (*second_factor, t.admin.second_factor, false),
    ];
    all.into_iter().filter(|(is_so, ..)| *is_so).map(|(_, text, taken)| Badge { text, taken }).collect()
}
