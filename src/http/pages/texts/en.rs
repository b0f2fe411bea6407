//! English, for everybody whose language is not there too.

use super::admin;
use super::counted::Counted;
use super::words::Texts;
use crate::domain::password::Unfit;
use crate::service::error::Unusable;

/// The texts.
pub(super) const TEXTS: Texts = Texts {
    lang: "en",
    sign_in: "Sign in",
    sign_out: "Sign out",
    username: "Username or e-mail address",
    password: "Password",
    remember: "Keep me signed in",
    remember_hint: "Even after the browser was closed. Not on a device that others use.",
    signed_in: "You are signed in",
    signed_out: "You were signed out.",
    go_on: "Go on to the application",
    cancel: "Cancel",
    no_match: "That username and password do not match.",
    one_time_password: "This password works once. Enter it again, and choose the one that you will use from now on.",
    required: "Enter your username and your password.",
    overloaded: "Too many people are signing in at the moment. Try again in a few seconds.",
    throttled_seconds: Counted {
        one: "Too many attempts. Try again in 1 second.",
        many: "Too many attempts. Try again in {} seconds.",
    },
    throttled_minutes: Counted {
        one: "Too many attempts. Try again in 1 minute.",
        many: "Too many attempts. Try again in {} minutes.",
    },
    throttled_hours: Counted {
        one: "Too many attempts. Try again in 1 hour.",
        many: "Too many attempts. Try again in {} hours.",
    },
    out_of_reach: "You are signed in here, but the application that sent you here does not get to know it. Tell its administrator.",
    your_sessions: "Your sessions",
    signed_in_as: "Signed in as",
    this_device: "This device",
    unknown_device: "Unknown device",
    on: "on",
    address: "Address",
    signed_in_at: "Signed in",
    last_active: "Active",
    date: "{day} {month} {year}, {time} UTC",
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    just_now: "just now",
    minutes_ago: Counted { one: "1 minute ago", many: "{} minutes ago" },
    hours_ago: Counted { one: "1 hour ago", many: "{} hours ago" },
    days_ago: Counted { one: "1 day ago", many: "{} days ago" },
    only_this_device: "Only this device is signed in.",
    sign_out_others: "Sign out everywhere else",
    sign_out_others_means: "Every device but this one will be signed out.",
    sign_out_all: "Sign out everywhere",
    sign_out_all_means: "Every device will be signed out, this one too.",
    sign_out_means: "You will be signed out on this device.",
    ended_none: "No other session was signed out.",
    ended: Counted { one: "One session was signed out.", many: "{} sessions were signed out." },
    password_changed: "Your password was changed.",
    change_password: "Change password",
    current_password: "Current password",
    new_password: "New password",
    new_password_hint: "At least 8 characters; 15 or more are better.",
    strength_weak: "Easy to guess. Use more words.",
    strength_fair: "Not easy to guess. Longer is better.",
    strength_good: "Hard to guess.",
    wrong_current_password: "The current password is not right.",
    unusable_password,
    back_to_sign_in: "Back to sign in",
    to_sessions: "To your sessions",
    not_found: "There is nothing here",
    wrong_place: "This was asked for by another site, and was not done",
    plain_http: "This page is there over https alone",
    bad_request: "This request cannot be read",
    request_id: "Request",
    failed: "That did not work. Try again in a minute",
    again: "Enter your password again",
    again_because: "Your last sign-in is too long ago for this. Nothing has been changed yet.",
    again_button: "Enter password",
    admin: admin::en::TEXTS,
};

fn unusable_password(why: Unusable) -> &'static str {
    match why {
        Unusable::Password(Unfit::TooShort) => "The new password needs at least 8 characters.",
        Unusable::Password(Unfit::TooLong) => "The new password is too long: it may have 1,024 bytes.",
        Unusable::Password(Unfit::Control) => "The new password holds a control character, such as a tab.",
        Unusable::Password(Unfit::Invisible) => "The new password holds a character that cannot be seen.",
        Unusable::Password(Unfit::Blank) => "The new password must not be spaces alone.",
        Unusable::Password(Unfit::Common) => {
            "The new password is one of the most common ones, which are guessed first."
        }
        Unusable::Password(Unfit::Username) => "The new password must not be made of the username.",
        Unusable::Password(Unfit::Product) => "The new password must not be made of the name of this service.",
        Unusable::Unchanged => "The new password must differ from the current one.",
        // No password is refused for these.
        Unusable::NotAsked | Unusable::Text(_) => "The new password cannot be used.",
    }
}
