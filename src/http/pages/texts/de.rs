//! German.

use std::borrow::Cow;

use super::admin;
use super::counted::Counted;
use super::words::Texts;
use crate::domain::password::Unfit;
use crate::service::error::Unusable;

/// The texts.
pub(super) const TEXTS: Texts = Texts {
    lang: "de",
    sign_in: "Anmelden",
    sign_out: "Abmelden",
    username: "Benutzername oder E-Mail-Adresse",
    password: "Passwort",
    remember: "Angemeldet bleiben",
    remember_hint: "Auch wenn der Browser geschlossen wurde. Nicht auf einem Gerät, das auch andere benutzen.",
    signed_in: "Sie sind angemeldet",
    signed_out: "Sie wurden abgemeldet.",
    go_on: "Weiter zur Anwendung",
    cancel: "Abbrechen",
    no_match: "Benutzername und Passwort passen nicht zusammen.",
    one_time_password: "Dieses Passwort gilt nur einmal. Geben Sie es noch einmal ein, und wählen Sie das, das Sie von nun an verwenden.",
    one_time_with_code: "Dieses Passwort gilt nur einmal. Geben Sie es noch einmal zusammen mit einem Code Ihres zweiten Faktors ein, und wählen Sie das Passwort, das Sie von nun an verwenden.",
    required: "Geben Sie Benutzername und Passwort ein.",
    overloaded: "Im Moment melden sich zu viele an. Versuchen Sie es in einigen Sekunden noch einmal.",
    throttled_seconds: Counted {
        one: "Zu viele Versuche. Versuchen Sie es in 1 Sekunde noch einmal.",
        many: "Zu viele Versuche. Versuchen Sie es in {} Sekunden noch einmal.",
    },
    throttled_minutes: Counted {
        one: "Zu viele Versuche. Versuchen Sie es in 1 Minute noch einmal.",
        many: "Zu viele Versuche. Versuchen Sie es in {} Minuten noch einmal.",
    },
    throttled_hours: Counted {
        one: "Zu viele Versuche. Versuchen Sie es in 1 Stunde noch einmal.",
        many: "Zu viele Versuche. Versuchen Sie es in {} Stunden noch einmal.",
    },
    out_of_reach: "Sie sind hier angemeldet, aber die Anwendung, von der Sie kommen, erfährt davon nichts. Sagen Sie es denen, die sie betreuen.",
    your_sessions: "Ihre Sitzungen",
    signed_in_as: "Angemeldet als",
    this_device: "Dieses Gerät",
    unknown_device: "Unbekanntes Gerät",
    on: "auf",
    address: "Adresse",
    signed_in_at: "Angemeldet",
    last_active: "Zuletzt aktiv",
    date: "{day}. {month} {year}, {time} UTC",
    months: [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ],
    just_now: "gerade eben",
    minutes_ago: Counted { one: "vor 1 Minute", many: "vor {} Minuten" },
    hours_ago: Counted { one: "vor 1 Stunde", many: "vor {} Stunden" },
    days_ago: Counted { one: "vor 1 Tag", many: "vor {} Tagen" },
    only_this_device: "Nur dieses Gerät ist angemeldet.",
    sign_out_others: "Überall sonst abmelden",
    sign_out_others_means: "Alle Geräte außer diesem werden abgemeldet.",
    sign_out_all: "Überall abmelden",
    sign_out_all_means: "Alle Geräte werden abgemeldet, auch dieses.",
    sign_out_means: "Sie werden auf diesem Gerät abgemeldet.",
    ended_none: "Keine andere Sitzung wurde abgemeldet.",
    ended: Counted { one: "Eine Sitzung wurde abgemeldet.", many: "{} Sitzungen wurden abgemeldet." },
    password_changed: "Ihr Passwort wurde geändert.",
    change_password: "Passwort ändern",
    current_password: "Bisheriges Passwort",
    new_password: "Neues Passwort",
    new_password_hint: "Mindestens {} Zeichen; 15 oder mehr sind besser.",
    strength_weak: "Leicht zu erraten. Nehmen Sie mehr Wörter.",
    strength_fair: "Nicht leicht zu erraten. Länger ist besser.",
    strength_good: "Schwer zu erraten.",
    wrong_current_password: "Das bisherige Passwort ist nicht richtig.",
    unusable_password,
    second_factor: "Zweiter Faktor",
    second_factor_means: "Mit einem zweiten Faktor wird beim Anmelden außer dem Passwort ein Code verlangt. Eine Authenticator-App auf Ihrem Telefon zeigt ihn an. Wer nur Ihr Passwort erfährt, kann sich nicht anmelden.",
    second_factor_on: "Beim Anmelden wird außer dem Passwort ein Code verlangt, seit",
    second_factor_set: "Der zweite Faktor ist eingeschaltet.",
    second_factor_removed: "Der zweite Faktor ist ausgeschaltet.",
    second_factor_is_off: "Der zweite Faktor wurde inzwischen ausgeschaltet. Es wurde nichts geändert.",
    set_up: "Zweiten Faktor einrichten",
    switch_on: "Einschalten",
    switch_off: "Ausschalten",
    other_authenticator: "Andere Authenticator-App verwenden",
    scan: "Scannen Sie dies mit Ihrer Authenticator-App:",
    qr_code: "QR-Code mit dem Geheimnis, das darunter als Text steht",
    or_type: "Oder geben Sie dort dieses Geheimnis ein. Es wird nur hier gezeigt:",
    first_code: "Code",
    first_code_hint: "Die sechs Ziffern, die die App jetzt zeigt. Vorher ändert sich nichts.",
    wrong_first_code: "Dieser Code ist nicht richtig. Geben Sie den ein, den die App jetzt zeigt, oder beginnen Sie noch einmal.",
    enrolment_over: "Das hat zu lange gedauert oder wurde anderswo neu begonnen. Beginnen Sie noch einmal.",
    enter_code: "Code eingeben",
    code: "Code",
    code_hint: "Sechs Ziffern aus Ihrer Authenticator-App oder ein Wiederherstellungscode.",
    code_required: "Geben Sie einen Code Ihres zweiten Faktors ein.",
    wrong_code: "Dieser Code ist nicht richtig oder wurde schon verwendet.",
    recovery_code_used: "Sie haben sich mit einem Wiederherstellungscode angemeldet. Er gilt nicht noch einmal.",
    recovery_codes: "Wiederherstellungs\u{ad}codes",
    recovery_codes_mean: "Mit jedem davon können Sie sich einmal ohne Ihre Authenticator-App anmelden. Drucken Sie sie oder schreiben Sie sie ab, und bewahren Sie sie dort auf, wo nur Sie sie finden. Sie werden nur hier gezeigt.",
    new_recovery_codes: "Neue Wiederherstellungscodes",
    codes_are_kept: "Ich habe sie aufbewahrt",
    no_recovery_codes: "Es ist kein Wiederherstellungscode übrig. Holen Sie sich neue.",
    codes_left: Counted {
        one: "Ein Wiederherstellungscode ist übrig.",
        many: "{} Wiederherstellungscodes sind übrig.",
    },
    back_to_sign_in: "Zurück zur Anmeldung",
    to_sessions: "Zu Ihren Sitzungen",
    not_found: "Hier gibt es nichts",
    wrong_place: "Das wurde von einer anderen Website verlangt und nicht ausgeführt",
    plain_http: "Diese Seite gibt es nur über https",
    bad_request: "Diese Anfrage ist nicht zu lesen",
    request_id: "Anfrage",
    failed: "Das hat nicht funktioniert. Versuchen Sie es in einer Minute noch einmal",
    again: "Geben Sie Ihr Passwort noch einmal ein",
    again_because: "Ihre letzte Anmeldung ist dafür zu lange her. Es wurde noch nichts geändert.",
    again_button: "Passwort eingeben",
    admin: admin::de::TEXTS,
};

fn unusable_password(why: Unusable) -> Cow<'static, str> {
    Cow::Borrowed(match why {
        Unusable::Password(Unfit::TooShort(shortest)) => {
            return Cow::Owned(format!("Das neue Passwort braucht mindestens {shortest} Zeichen."));
        }
        Unusable::Password(Unfit::Forbidden) => {
            "Das neue Passwort steht auf der Liste dieses Dienstes von Passwörtern, die nicht gehen."
        }
        Unusable::Password(Unfit::TooLong) => "Das neue Passwort ist zu lang: Es darf 1.024 Byte haben.",
        Unusable::Password(Unfit::Control) => "Das neue Passwort enthält ein Steuerzeichen, etwa einen Tabulator.",
        Unusable::Password(Unfit::Invisible) => "Das neue Passwort enthält ein Zeichen, das nicht zu sehen ist.",
        Unusable::Password(Unfit::Blank) => "Das neue Passwort darf nicht nur aus Leerzeichen bestehen.",
        Unusable::Password(Unfit::Common) => "Das neue Passwort ist eines der häufigsten, die zuerst geraten werden.",
        Unusable::Password(Unfit::Username) => "Das neue Passwort darf nicht aus dem Benutzernamen bestehen.",
        Unusable::Password(Unfit::Product) => "Das neue Passwort darf nicht aus dem Namen dieses Dienstes bestehen.",
        Unusable::Unchanged => "Das neue Passwort muss sich vom bisherigen unterscheiden.",
        // No password is refused for these.
        Unusable::NotAsked | Unusable::Text(_) => "Das neue Passwort kann nicht verwendet werden.",
    })
}
