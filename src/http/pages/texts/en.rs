//! English, for everybody whose language is not there too.

use std::borrow::Cow;

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
    one_time_with_code: "This password works once. Enter it again together with a code of your second factor, and choose the password that you will use from now on.",
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
    new_password_hint: "At least {} characters; 15 or more are better.",
    strength_weak: "Easy to guess. Use more words.",
    strength_fair: "Not easy to guess. Longer is better.",
    strength_good: "Hard to guess.",
    wrong_current_password: "The current password is not right.",
    unusable_password,
    second_factor: "Second factor",
    second_factor_means: "With a second factor, signing in asks for a code beside your password. An authenticator app on your phone shows it. Whoever learns your password cannot sign in without it.",
    second_factor_on: "Signing in asks for a code beside your password, since",
    second_factor_set: "The second factor is on.",
    second_factor_removed: "The second factor is off.",
    second_factor_is_off: "The second factor was switched off in the meantime. Nothing was changed.",
    set_up: "Set up a second factor",
    switch_on: "Switch on",
    switch_off: "Switch off",
    other_authenticator: "Use another authenticator",
    scan: "Scan this with your authenticator app:",
    qr_code: "QR code with the secret that stands below as text",
    or_type: "Or type this secret into it. It is shown only once:",
    first_code: "Code",
    first_code_hint: "The six digits that the app shows now. Nothing changes before you enter them.",
    wrong_first_code: "That code is not right. Enter the one that the app shows now, or start again.",
    enrolment_over: "That took too long, or was begun again elsewhere. Start again.",
    enter_code: "Enter your code",
    code: "Code",
    code_hint: "Six digits from your authenticator app, or a recovery code.",
    code_required: "Enter a code of your second factor.",
    wrong_code: "That code is not right, or was used before.",
    recovery_code_used: "You signed in with a recovery code, which does not work again.",
    recovery_codes: "Recovery codes",
    recovery_codes_mean: "With each of these you can sign in once without your authenticator app. Print them, or write them down, and keep them where only you find them. They are shown only once.",
    new_recovery_codes: "Get new recovery codes",
    copy: "Copy",
    copied: "Copied.",
    not_copied: "This browser does not copy them. Write them down.",
    codes_are_kept: "I have kept them",
    no_recovery_codes: "No recovery codes are left. Get new ones.",
    codes_left: Counted { one: "One recovery code is left.", many: "{} recovery codes are left." },
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

fn unusable_password(why: Unusable) -> Cow<'static, str> {
    Cow::Borrowed(match why {
        Unusable::Password(Unfit::TooShort(shortest)) => {
            return Cow::Owned(format!("The new password needs at least {shortest} characters."));
        }
        Unusable::Password(Unfit::Forbidden) => {
            "The new password is on this service's list of passwords that cannot be used."
        }
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
    })
}
