//! Every text of the pages, in each language. A language is a constant, so that a text that is missing does not compile.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

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
    pub overloaded: &'static str,
    pub out_of_reach: &'static str,
    pub your_sessions: &'static str,
    pub signed_in_as: &'static str,
    pub this_device: &'static str,
    pub unknown_device: &'static str,
    pub on: &'static str,
    pub address: &'static str,
    pub signed_in_at: &'static str,
    pub last_active: &'static str,
    pub only_this_device: &'static str,
    pub sign_out_others: &'static str,
    pub sign_out_others_means: &'static str,
    pub sign_out_all: &'static str,
    pub sign_out_all_means: &'static str,
    pub sign_out_means: &'static str,
    pub ended_none: &'static str,
    pub ended_one: &'static str,
    pub ended_many: &'static str,
    pub password_changed: &'static str,
    pub change_password: &'static str,
    pub current_password: &'static str,
    pub new_password: &'static str,
    pub new_password_hint: &'static str,
    pub wrong_current_password: &'static str,
    pub back_to_sign_in: &'static str,
    pub to_sessions: &'static str,
    pub not_found: &'static str,
    pub wrong_place: &'static str,
    pub bad_request: &'static str,
    pub failed: &'static str,
}

/// English, the language of everybody for whom there is no other.
const ENGLISH: Texts = Texts {
    lang: "en",
    sign_in: "Sign in",
    sign_out: "Sign out",
    username: "Username or e-mail address",
    password: "Password",
    remember: "Keep me signed in",
    remember_hint: "For up to 30 days. Not on a device that others use.",
    signed_in: "You are signed in",
    signed_out: "You were signed out.",
    go_on: "Go on to the application",
    cancel: "Cancel",
    no_match: "That username and password do not match.",
    required: "Enter your username and your password.",
    overloaded: "Too many people are signing in at the moment. Try again in a few seconds.",
    out_of_reach: "You are signed in here, but the application that sent you here does not get to know it. Tell its administrator.",
    your_sessions: "Your sessions",
    signed_in_as: "Signed in as",
    this_device: "This device",
    unknown_device: "Unknown device",
    on: "on",
    address: "Address",
    signed_in_at: "Signed in",
    last_active: "Active",
    only_this_device: "Only this device is signed in.",
    sign_out_others: "Sign out everywhere else",
    sign_out_others_means: "Every device but this one will be signed out.",
    sign_out_all: "Sign out everywhere",
    sign_out_all_means: "Every device will be signed out, this one too.",
    sign_out_means: "You will be signed out on this device.",
    ended_none: "No other session was signed out.",
    ended_one: "One session was signed out.",
    ended_many: "{} sessions were signed out.",
    password_changed: "Your password was changed.",
    change_password: "Change password",
    current_password: "Current password",
    new_password: "New password",
    new_password_hint: "At least 8 characters; 15 or more are better.",
    wrong_current_password: "The current password is not right.",
    back_to_sign_in: "Back to sign in",
    to_sessions: "To your sessions",
    not_found: "There is nothing here",
    wrong_place: "This was asked for by another site, and was not done",
    bad_request: "This request cannot be read",
    failed: "That did not work. Try again in a minute",
};

const GERMAN: Texts = Texts {
    lang: "de",
    sign_in: "Anmelden",
    sign_out: "Abmelden",
    username: "Benutzername oder E-Mail-Adresse",
    password: "Passwort",
    remember: "Angemeldet bleiben",
    remember_hint: "Bis zu 30 Tage. Nicht auf einem Gerät, das auch andere benutzen.",
    signed_in: "Sie sind angemeldet",
    signed_out: "Sie wurden abgemeldet.",
    go_on: "Weiter zur Anwendung",
    cancel: "Abbrechen",
    no_match: "Benutzername und Passwort passen nicht zusammen.",
    required: "Geben Sie Benutzername und Passwort ein.",
    overloaded: "Im Moment melden sich zu viele an. Versuchen Sie es in einigen Sekunden noch einmal.",
    out_of_reach: "Sie sind hier angemeldet, aber die Anwendung, von der Sie kommen, erfährt davon nichts. Sagen Sie es denen, die sie betreuen.",
    your_sessions: "Ihre Sitzungen",
    signed_in_as: "Angemeldet als",
    this_device: "Dieses Gerät",
    unknown_device: "Unbekanntes Gerät",
    on: "auf",
    address: "Adresse",
    signed_in_at: "Angemeldet",
    last_active: "Aktiv",
    only_this_device: "Nur dieses Gerät ist angemeldet.",
    sign_out_others: "Überall sonst abmelden",
    sign_out_others_means: "Alle Geräte außer diesem werden abgemeldet.",
    sign_out_all: "Überall abmelden",
    sign_out_all_means: "Alle Geräte werden abgemeldet, auch dieses.",
    sign_out_means: "Sie werden auf diesem Gerät abgemeldet.",
    ended_none: "Keine andere Sitzung wurde abgemeldet.",
    ended_one: "Eine Sitzung wurde abgemeldet.",
    ended_many: "{} Sitzungen wurden abgemeldet.",
    password_changed: "Ihr Passwort wurde geändert.",
    change_password: "Passwort ändern",
    current_password: "Bisheriges Passwort",
    new_password: "Neues Passwort",
    new_password_hint: "Mindestens 8 Zeichen; 15 oder mehr sind besser.",
    wrong_current_password: "Das bisherige Passwort ist nicht richtig.",
    back_to_sign_in: "Zurück zur Anmeldung",
    to_sessions: "Zu Ihren Sitzungen",
    not_found: "Hier gibt es nichts",
    wrong_place: "Das wurde von einer anderen Website verlangt und nicht ausgeführt",
    bad_request: "Diese Anfrage ist nicht zu lesen",
    failed: "Das hat nicht funktioniert. Versuchen Sie es in einer Minute noch einmal",
};

static LANGUAGES: [&Texts; 2] = [&ENGLISH, &GERMAN];

impl Texts {
    /// The texts in the language that a browser prefers among those there are (RFC 9110 section 12.5.4): `de-AT` gets
    /// German, and whatever is not understood gets English.
    pub fn preferred(headers: &HeaderMap) -> &'static Self {
        let lines = headers.get_all(ACCEPT_LANGUAGE).iter().filter_map(|line| line.to_str().ok());
        let ranges = lines.flat_map(|line| line.split(',')).take(32).filter_map(|range| {
            let (tag, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok())?;
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let texts = LANGUAGES.iter().find(|texts| texts.lang.eq_ignore_ascii_case(primary))?;
            (weight > 0.0 && weight <= 1.0).then_some((weight, *texts))
        });
        // Of equals the first.
        let best = ranges.fold(None, |best: Option<(f32, _)>, range| match best {
            Some((weight, _)) if weight >= range.0 => best,
            Some(_) | None => Some(range),
        });
        best.map_or(&ENGLISH, |(_, texts)| texts)
    }

    /// How many sessions were signed out, in words.
    pub fn ended(&self, count: usize) -> String {
        match count {
            0 => self.ended_none.to_owned(),
            1 => self.ended_one.to_owned(),
            _ => self.ended_many.replace("{}", &count.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_language_is_the_one_that_is_preferred_among_those_there_are() {
        for (accepted, wanted) in [
            ("de", "de"),
            ("de-AT", "de"),
            ("DE-at, en", "de"),
            ("en, de", "en"),
            ("en;q=0.5, de;q=0.8", "de"),
            ("de;q=0, en", "en"),
            ("de;q=0", "en"),
            ("fr, de;q=0.1", "de"),
            ("fr", "en"),
            ("*", "en"),
            ("", "en"),
            (";;;q=,,de;q=x", "en"),
            ("de;q=7, en;q=0.1", "en"),
        ] {
            let headers = [(ACCEPT_LANGUAGE, HeaderValue::from_static(accepted))].into_iter().collect();
            assert_eq!(Texts::preferred(&headers).lang, wanted, "{accepted}");
        }
        assert_eq!(Texts::preferred(&HeaderMap::new()).lang, "en");
    }
}
