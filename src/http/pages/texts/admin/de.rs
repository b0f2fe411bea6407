//! German.

use super::{AdminTexts, Field};
use crate::domain::event::EventKind;
use crate::domain::text::BadText;
use crate::http::pages::texts::counted::Counted;
use crate::service::error::{Conflict, Unusable};

/// The texts.
pub const TEXTS: AdminTexts = AdminTexts {
    administration: "Verwaltung",
    users: "Benutzer",
    sessions: "Sitzungen",
    events: "Ereignisse",
    search: "Suchen",
    search_users: "Benutzername, Name oder E-Mail-Adresse",
    filter: "Filtern",
    show_all: "Alle zeigen",
    next_page: "Nächste Seite",
    first_page: "Erste Seite",
    go_on_searching: "Weiter suchen",
    not_all_searched: "Es wurde noch nicht alles durchsucht.",
    no_users: "Kein Benutzer passt dazu.",
    no_sessions: "Keine Sitzung passt dazu.",
    no_events: "Kein Ereignis passt dazu.",
    no_such_user: "Diesen Benutzer gibt es nicht.",
    new_user: "Neuer Benutzer",
    username: "Benutzername",
    email: "E-Mail-Adresse",
    name: "Name",
    optional: "optional",
    name_hint: "Ohne Namen wird der Benutzername gezeigt.",
    password: "Passwort",
    password_hint: "Ohne eines wird ein Einmalpasswort erzeugt, das Sie weitergeben.",
    is_admin: "Administrator",
    is_admin_hint: "Darf alles auf diesen Seiten, mit allen Benutzern.",
    create: "Benutzer anlegen",
    save: "Änderungen speichern",
    unsaved: "Das ist noch nicht gespeichert. Prüfen Sie es, und speichern Sie noch einmal.",
    edit: "Profil",
    access: "Zugang",
    disabled: "Deaktiviert",
    must_change: "Einmalpasswort",
    yourself: "Sie",
    own_access: "Das ist Ihr eigenes Konto. Ihre Sitzungen und Ihr Passwort ändern Sie auf Ihren eigenen Seiten.",
    last_login: "Zuletzt angemeldet",
    never: "Noch nie",
    created_at: "Angelegt",
    id: "Benutzer-ID",
    user: "Benutzer",
    user_hint: "Benutzername, E-Mail-Adresse oder ID",
    events_of_user: "Ereignisse dieses Benutzers",
    to_user: "Zu diesem Benutzer",
    not_signed_in: "Auf keinem Gerät angemeldet.",
    disable: "Deaktivieren",
    disable_means: "{name} wird überall abgemeldet und kann sich nicht mehr anmelden, bis Sie das Konto wieder aktivieren.",
    enable: "Aktivieren",
    enable_means: "{name} kann sich dann wieder anmelden.",
    sign_out_user: "Überall abmelden",
    sign_out_user_means: "{name} wird auf allen Geräten abgemeldet.",
    reset: "Passwort zurücksetzen",
    reset_means: "{name} bekommt ein Einmalpasswort, das Sie weitergeben, und wird überall abgemeldet. Das bisherige Passwort gilt nicht mehr.",
    second_factor: "Zweiter Faktor",
    reset_factor: "Zweiten Faktor entfernen",
    reset_factor_means: "{name} meldet sich dann mit dem Passwort allein an, bis wieder ein zweiter Faktor eingerichtet ist, und wird überall abgemeldet.",
    unlock: "Entsperren",
    unlock_means: "{name} kann sofort wieder versuchen, sich anzumelden, wie oft auch ein falsches Passwort eingegeben wurde.",
    delete: "Benutzer löschen",
    delete_means: "{name} wird endgültig gelöscht und überall abgemeldet. Das lässt sich nicht rückgängig machen. Um jemanden nur vorerst auszuschließen, deaktivieren Sie das Konto.",
    one_time_password: "Einmalpasswort",
    one_time_for: "Geben Sie das an {name} weiter. Es wird nur jetzt gezeigt.",
    one_time_hint: Counted {
        one: "Es gilt einmal, innerhalb von 1 Stunde, und muss dann geändert werden.",
        many: "Es gilt einmal, innerhalb von {} Stunden, und muss dann geändert werden.",
    },
    done: "Fertig",
    was_created: "Der Benutzer wurde angelegt.",
    was_saved: "Die Änderungen wurden gespeichert.",
    was_disabled: "Der Benutzer wurde deaktiviert und überall abgemeldet.",
    was_enabled: "Der Benutzer kann sich wieder anmelden.",
    was_factor_reset: "Der zweite Faktor wurde entfernt.",
    was_unlocked: "Der Benutzer kann sofort wieder versuchen, sich anzumelden.",
    nothing_locked: "Es war nichts gesperrt.",
    waits: Counted {
        one: "Anmeldungen warten bis {until}, nach 1 Fehlversuch.",
        many: "Anmeldungen warten bis {until}, nach {} Fehlversuchen.",
    },
    was_deleted: "Der Benutzer wurde gelöscht.",
    ended_none: "Keine Sitzung wurde abgemeldet.",
    device: "Gerät",
    network: "Adresse oder Netz",
    network_hint: "Etwa 192.0.2.7 oder 192.0.2.0/24",
    user_agent: "Teil des User-Agents",
    before: "Angemeldet vor (UTC)",
    action: "Aktion",
    sign_out_matching: "Alle passenden abmelden",
    sign_out_matching_means: Counted {
        one: "Eine Sitzung wird abgemeldet. Ihre läuft weiter.",
        many: "{} Sitzungen werden abgemeldet. Ihre läuft weiter.",
    },
    nothing_to_sign_out: "Keine Sitzung passt dazu, außer vielleicht Ihrer, und die läuft weiter.",
    sign_out_everybody: "Alle Benutzer abmelden",
    sign_out_everybody_means: Counted {
        one: "Eine Sitzung wird abgemeldet: alle, die es gibt, außer dieser von Ihnen.",
        many: "{} Sitzungen werden abgemeldet: alle von allen Benutzern, außer dieser von Ihnen.",
    },
    when: "Wann",
    what: "Was",
    by: "Durch",
    from: "Von wo",
    kind: "Art",
    every_kind: "Jede Art",
    since: "Seit (UTC)",
    until: "Bis (UTC)",
    operator: "Betreiber",
    service: "Dieser Dienst",
    anonymous: "Jemand ohne Anmeldung",
    times: "{}-mal",
    wrong_password: "Falsches bisheriges Passwort",
    wrong_code: "Falscher Code",
    bad_network: "Die Adresse muss eine wie 192.0.2.7 sein, oder ein Netz wie 192.0.2.0/24.",
    bad_time: "Die Zeit muss eine wie 2026-01-02T03:04 sein.",
    too_long: "Das Gesuchte ist zu lang.",
    event,
    conflict,
    invalid,
};

fn event(kind: EventKind) -> &'static str {
    match kind {
        EventKind::LoginOk => "Angemeldet",
        EventKind::LoginFailed => "Anmeldung abgelehnt",
        EventKind::Logout => "Abgemeldet",
        EventKind::Revoked => "Sitzung beendet",
        EventKind::PasswordChanged => "Passwort geändert",
        EventKind::UserCreated => "Benutzer angelegt",
        EventKind::UserDisabled => "Benutzer deaktiviert",
        EventKind::UserEnabled => "Benutzer aktiviert",
        EventKind::UserRenamed => "Benutzername geändert",
        EventKind::EmailChanged => "E-Mail-Adresse geändert",
        EventKind::NameChanged => "Name geändert",
        EventKind::AdminGranted => "Zum Administrator gemacht",
        EventKind::AdminRemoved => "Kein Administrator mehr",
        EventKind::UserDeleted => "Benutzer gelöscht",
        EventKind::PasswordReset => "Passwort zurückgesetzt",
        EventKind::UserUnlocked => "Benutzer entsperrt",
        EventKind::UsersImported => "Benutzer importiert",
        EventKind::UsersExported => "Benutzer exportiert",
        EventKind::SecondFactorStarted => "Zweiter Faktor begonnen",
        EventKind::SecondFactorSet => "Zweiter Faktor eingerichtet",
        EventKind::SecondFactorRemoved => "Zweiter Faktor entfernt",
        EventKind::RecoveryCodesRenewed => "Neue Wiederherstellungscodes",
        EventKind::RecoveryCodeUsed => "Wiederherstellungscode benutzt",
        EventKind::SecondFactorsResealed => "Zweite Faktoren neu verschlüsselt",
        EventKind::ActRefused => "Verwaltung verweigert",
    }
}

fn conflict(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::UsernameTaken => "Ein anderer Benutzer hat diesen Benutzernamen.",
        Conflict::EmailTaken => "Ein anderer Benutzer hat diese E-Mail-Adresse.",
        Conflict::LastAdmin => "Danach gäbe es keinen Administrator mehr, der sich anmelden kann.",
        Conflict::Oneself => "Das geht mit dem eigenen Konto nicht.",
        Conflict::EnrolmentReplaced => "Das ist vorbei. Beginnen Sie noch einmal.",
        Conflict::MoreThanExpected => {
            "Jetzt passen mehr Sitzungen dazu als vorher. Keine wurde abgemeldet: Sehen Sie sich die neue Zahl an."
        }
    }
}

fn invalid(field: Field, why: Unusable) -> String {
    let field = match field {
        Field::Username => "Der Benutzername",
        Field::Email => "Die E-Mail-Adresse",
        Field::Name => "Der Name",
        Field::Password => "Das Passwort",
    };
    let why = match why {
        Unusable::Text(bad) => match bad {
            BadText::Empty => "darf nicht leer sein",
            BadText::TooLong => "ist zu lang",
            BadText::Control => "darf keine Steuerzeichen enthalten",
            BadText::Invisible => "darf keine Zeichen enthalten, die man nicht sieht",
            BadText::NotAUsername => "darf keine Leerzeichen und kein @ enthalten",
            BadText::NotLetters => {
                "darf nur aus Buchstaben, Ziffern und einfachen Satzzeichen bestehen, in einer Schreibrichtung"
            }
            BadText::NotAnEmail => "muss die Form name@domain haben",
            BadText::Dash => "muss mehr als ein Strich sein",
        },
        // Passwords have sentences of their own.
        Unusable::Password(_) | Unusable::Unchanged | Unusable::NotAsked => "kann nicht verwendet werden",
    };
    format!("{field} {why}.")
}
