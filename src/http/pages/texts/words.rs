//! The texts that a language has, and those that depend on numbers and times.

use std::borrow::Cow;
use std::time::Duration;

use super::admin::AdminTexts;
use super::counted::Counted;
use crate::domain::clock::Timestamp;
use crate::domain::throttle::Wait;
use crate::service::error::Unusable;

/// The texts of one language.
#[derive(Debug)]
pub struct Texts {
    pub lang: &'static str,
    pub sign_in: &'static str,
    pub sign_out: &'static str,
    pub username: &'static str,
    pub password: &'static str,
    pub remember: &'static str,
    pub remember_hint: &'static str,
    pub signed_in: &'static str,
    pub signed_out: &'static str,
    pub go_on: &'static str,
    pub cancel: &'static str,
    pub no_match: &'static str,
    pub required: &'static str,
    pub one_time_password: &'static str,
    pub one_time_with_code: &'static str,
    pub overloaded: &'static str,
    pub throttled_seconds: Counted,
    pub throttled_minutes: Counted,
    pub throttled_hours: Counted,
    pub out_of_reach: &'static str,
    pub your_sessions: &'static str,
    pub signed_in_as: &'static str,
    pub this_device: &'static str,
    pub unknown_device: &'static str,
    pub on: &'static str,
    pub address: &'static str,
    pub signed_in_at: &'static str,
    pub last_active: &'static str,
    /// With `{day}`, `{month}`, `{year}` and `{time}`.
    pub date: &'static str,
    pub months: [&'static str; 12],
    pub just_now: &'static str,
    pub minutes_ago: Counted,
    pub hours_ago: Counted,
    pub days_ago: Counted,
    pub only_this_device: &'static str,
    pub sign_out_others: &'static str,
    pub sign_out_others_means: &'static str,
    pub sign_out_all: &'static str,
    pub sign_out_all_means: &'static str,
    pub sign_out_means: &'static str,
    pub ended_none: &'static str,
    pub ended: Counted,
    pub password_changed: &'static str,
    pub change_password: &'static str,
    pub current_password: &'static str,
    pub new_password: &'static str,
    /// With `{}` for the characters that it has to have.
    pub new_password_hint: &'static str,
    pub strength_weak: &'static str,
    pub strength_fair: &'static str,
    pub strength_good: &'static str,
    pub wrong_current_password: &'static str,
    /// Why a password cannot be the new one.
    pub unusable_password: fn(Unusable) -> Cow<'static, str>,
    pub second_factor: &'static str,
    pub second_factor_means: &'static str,
    pub second_factor_on: &'static str,
    pub second_factor_set: &'static str,
    pub second_factor_removed: &'static str,
    pub second_factor_is_off: &'static str,
    pub set_up: &'static str,
    pub switch_on: &'static str,
    pub switch_off: &'static str,
    pub other_authenticator: &'static str,
    pub scan: &'static str,
    pub qr_code: &'static str,
    pub or_type: &'static str,
    pub first_code: &'static str,
    pub first_code_hint: &'static str,
    pub wrong_first_code: &'static str,
    pub enrolment_over: &'static str,
    pub enter_code: &'static str,
    pub code: &'static str,
    pub code_hint: &'static str,
    pub code_required: &'static str,
    pub wrong_code: &'static str,
    pub recovery_code_used: &'static str,
    pub recovery_codes: &'static str,
    pub recovery_codes_mean: &'static str,
    pub new_recovery_codes: &'static str,
    pub copy: &'static str,
    pub copied: &'static str,
    pub not_copied: &'static str,
    pub codes_are_kept: &'static str,
    pub no_recovery_codes: &'static str,
    pub codes_left: Counted,
    pub back_to_sign_in: &'static str,
    pub to_sessions: &'static str,
    pub not_found: &'static str,
    pub wrong_place: &'static str,
    pub plain_http: &'static str,
    pub bad_request: &'static str,
    pub request_id: &'static str,
    pub failed: &'static str,
    pub again: &'static str,
    pub again_because: &'static str,
    pub again_button: &'static str,
    pub admin: AdminTexts,
}

impl Texts {
    /// What a new password has to be.
    pub fn new_password_hint(&self, shortest: usize) -> String {
        self.new_password_hint.replace("{}", &shortest.to_string())
    }

    /// How many sessions were signed out.
    pub fn sessions_ended(&self, count: u64) -> String {
        if count == 0 { self.ended_none.to_owned() } else { self.ended.of(count) }
    }

    /// How many recovery codes are left.
    pub fn recovery_codes_left(&self, count: u64) -> String {
        if count == 0 { self.no_recovery_codes.to_owned() } else { self.codes_left.of(count) }
    }

    /// How long no password is checked: to the second for as long as that is read easily, and never too short.
    pub fn too_many_tries(&self, wait: Wait) -> String {
        let seconds = wait.seconds();
        match seconds {
            0..=120 => self.throttled_seconds.of(seconds),
            121..=7200 => self.throttled_minutes.of(seconds.div_ceil(60)),
            7201.. => self.throttled_hours.of(seconds.div_ceil(3600)),
        }
    }

    /// A moment, to the minute, in UTC: without a script a page does not know the zone of its reader.
    pub fn date(&self, at: Timestamp) -> String {
        let at = at.rfc3339();
        let (date, time) = at.split_once('T').unwrap_or_default();
        let mut parts = date.splitn(3, '-');
        let (year, month, day) = (parts.next(), parts.next(), parts.next());
        let month = month.and_then(|month| self.months.get(month.parse::<usize>().ok()?.checked_sub(1)?));
        self.date
            .replace("{day}", day.unwrap_or_default().trim_start_matches('0'))
            .replace("{month}", month.unwrap_or(&""))
            .replace("{year}", year.unwrap_or_default())
            .replace("{time}", time.get(..5).unwrap_or_default())
    }

    /// How long ago something was.
    pub fn ago(&self, span: Duration) -> String {
        let minutes = span.as_secs() / 60;
        match minutes {
            0 => self.just_now.to_owned(),
            1..60 => self.minutes_ago.of(minutes),
            60..1440 => self.hours_ago.of(minutes / 60),
            1440.. => self.days_ago.of(minutes / 1440),
        }
    }
}
