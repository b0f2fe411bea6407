//! English.

use super::{AdminTexts, Field};
use crate::domain::event::EventKind;
use crate::domain::text::BadText;
use crate::http::pages::texts::counted::Counted;
use crate::service::error::{Conflict, Unusable};

/// The texts.
pub const TEXTS: AdminTexts = AdminTexts {
    administration: "Administration",
    users: "Users",
    sessions: "Sessions",
    events: "Events",
    search: "Search",
    search_users: "Username, name or e-mail address",
    filter: "Filter",
    show_all: "Show all",
    next_page: "Next page",
    first_page: "First page",
    go_on_searching: "Go on searching",
    not_all_searched: "Not everything has been searched yet.",
    no_users: "No user matches.",
    no_sessions: "No session matches.",
    no_events: "No event matches.",
    no_such_user: "There is no such user.",
    new_user: "New user",
    username: "Username",
    email: "E-mail address",
    name: "Name",
    optional: "optional",
    name_hint: "Without one, the username is shown.",
    password: "Password",
    password_hint: "Without one, a one-time password is made up for you to pass on.",
    is_admin: "Administrator",
    is_admin_hint: "May do everything on these pages, with every user.",
    create: "Create user",
    save: "Save changes",
    unsaved: "This has not been saved yet. Check it, and save it again.",
    edit: "Profile",
    access: "Access",
    disabled: "Disabled",
    must_change: "One-time password",
    yourself: "You",
    own_access: "This is your own account. You end your sessions and change your password on your own pages.",
    last_login: "Last signed in",
    never: "Never",
    created_at: "Created",
    id: "User ID",
    user: "User",
    user_hint: "Username, e-mail address or ID",
    events_of_user: "Events of this user",
    to_user: "To this user",
    not_signed_in: "Not signed in on any device.",
    disable: "Disable",
    disable_means: "{name} will be signed out everywhere, and cannot sign in until you enable them again.",
    enable: "Enable",
    enable_means: "{name} will be able to sign in again.",
    sign_out_user: "Sign out everywhere",
    sign_out_user_means: "{name} will be signed out on every device.",
    reset: "Reset password",
    reset_means: "{name} gets a one-time password, which you pass on, and is signed out everywhere. The present password stops working.",
    second_factor: "Second factor",
    reset_factor: "Remove second factor",
    reset_factor_means: "{name} will sign in with the password alone until they set up a second factor again, and is signed out everywhere.",
    unlock: "Unlock",
    unlock_means: "{name} can try to sign in again at once, however many wrong passwords were entered.",
    delete: "Delete user",
    delete_means: "{name} will be deleted for good and signed out everywhere. This cannot be undone. To keep somebody out for a while, disable them instead.",
    one_time_password: "One-time password",
    one_time_for: "Pass this on to {name}. It is shown only now.",
    one_time_hint: Counted {
        one: "It works once, within 1 hour, and has to be changed then.",
        many: "It works once, within {} hours, and has to be changed then.",
    },
    done: "Done",
    was_created: "The user was created.",
    was_saved: "The changes were saved.",
    was_disabled: "The user was disabled and signed out everywhere.",
    was_enabled: "The user can sign in again.",
    was_factor_reset: "The second factor was removed.",
    was_unlocked: "The user can try to sign in again at once.",
    nothing_locked: "Nothing was locked.",
    waits: Counted {
        one: "Sign-ins wait until {until} after 1 failed try.",
        many: "Sign-ins wait until {until} after {} failed tries.",
    },
    was_deleted: "The user was deleted.",
    ended_none: "No session was signed out.",
    device: "Device",
    network: "Address or network",
    network_hint: "Such as 192.0.2.7 or 192.0.2.0/24",
    user_agent: "Part of the user agent",
    before: "Signed in before (UTC)",
    action: "Action",
    sign_out_matching: "Sign out all that match",
    sign_out_matching_means: Counted {
        one: "One session will be signed out. Yours goes on.",
        many: "{} sessions will be signed out. Yours goes on.",
    },
    nothing_to_sign_out: "No session but perhaps your own matches, and that one goes on.",
    sign_out_everybody: "Sign everybody out",
    sign_out_everybody_means: Counted {
        one: "One session will be signed out: every one there is but this one of yours.",
        many: "{} sessions will be signed out: every one of every user, but this one of yours.",
    },
    when: "When",
    what: "What",
    by: "By",
    from: "From",
    kind: "Kind",
    every_kind: "Every kind",
    since: "Since (UTC)",
    until: "Until (UTC)",
    operator: "Operator",
    service: "This service",
    anonymous: "Somebody not signed in",
    times: "{} times",
    wrong_password: "Wrong current password",
    wrong_code: "Wrong code",
    bad_network: "The address must be one such as 192.0.2.7, or a network such as 192.0.2.0/24.",
    bad_time: "The time must be one such as 2026-01-02T03:04.",
    too_long: "What you are looking for is too long.",
    event,
    conflict,
    invalid,
};

fn event(kind: EventKind) -> &'static str {
    match kind {
        EventKind::LoginOk => "Signed in",
        EventKind::LoginFailed => "Sign-in refused",
        EventKind::Logout => "Signed out",
        EventKind::Revoked => "Session ended",
        EventKind::PasswordChanged => "Password changed",
        EventKind::UserCreated => "User created",
        EventKind::UserDisabled => "User disabled",
        EventKind::UserEnabled => "User enabled",
        EventKind::UserRenamed => "Username changed",
        EventKind::EmailChanged => "E-mail address changed",
        EventKind::NameChanged => "Name changed",
        EventKind::AdminGranted => "Made an administrator",
        EventKind::AdminRemoved => "No longer an administrator",
        EventKind::UserDeleted => "User deleted",
        EventKind::PasswordReset => "Password reset",
        EventKind::UserUnlocked => "User unlocked",
        EventKind::UsersImported => "Users imported",
        EventKind::UsersExported => "Users exported",
        EventKind::SecondFactorStarted => "Second factor begun",
        EventKind::SecondFactorSet => "Second factor set up",
        EventKind::SecondFactorRemoved => "Second factor removed",
        EventKind::RecoveryCodesRenewed => "New recovery codes",
        EventKind::RecoveryCodeUsed => "Recovery code used",
        EventKind::SecondFactorsResealed => "Second factors put under another key",
        EventKind::ActRefused => "Act of administration refused",
    }
}

fn conflict(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::UsernameTaken => "Another user has this username.",
        Conflict::EmailTaken => "Another user has this e-mail address.",
        Conflict::LastAdmin => "No administrator who can sign in would be left.",
        Conflict::Oneself => "You cannot do this to your own account.",
        Conflict::EnrolmentReplaced => "This is over. Start again.",
        Conflict::MoreThanExpected => {
            "More sessions match now than before. None was signed out: look at the new number."
        }
    }
}

fn invalid(field: Field, why: Unusable) -> String {
    let field = match field {
        Field::Username => "The username",
        Field::Email => "The e-mail address",
        Field::Name => "The name",
        Field::Password => "The password",
    };
    let why = match why {
        Unusable::Text(bad) => match bad {
            BadText::Empty => "must not be empty",
            BadText::TooLong => "is too long",
            BadText::Control => "must not contain control characters",
            BadText::Invisible => "must not contain characters that cannot be seen",
            BadText::NotAUsername => "must not contain spaces or an @",
            BadText::NotLetters => "must consist of letters, digits and simple punctuation, written in one direction",
            BadText::NotAnEmail => "must be of the form name@domain",
            BadText::Dash => "must be more than a dash",
        },
        // Passwords have sentences of their own.
        Unusable::Password(_) | Unusable::Unchanged | Unusable::NotAsked => "cannot be used",
    };
    format!("{field} {why}.")
}
