//! Users who come from elsewhere: all of them or none, and which kinds of hashes they bring along.

use futures_util::future::join_all;
use sessiond::domain::entropy::SystemEntropy;
use sessiond::domain::event::{Actor, Origin};
use sessiond::domain::id::UserId;
use sessiond::domain::second_factor::sealed::FactorKeys;
use sessiond::domain::second_factor::totp::{Step, TotpSecret};
use sessiond::domain::text::{Email, LoginName, Name, Username};
use sessiond::domain::user::{NewUser, OneTime};
use sessiond::password::{FIRST_FOREIGN, after_its_kind};
use sessiond::store::{Clash, Common, Import, ImportedUser, Initial};
use sessiond_needs::on_both_stores;
use sessiond_support::wait::until;

use crate::harness::fresh::{Fresh, hash, later, on_a_fresh_store};
use crate::harness::{BEGIN, StoreKind};

const BCRYPT: &str = "bcrypt:$2b$10$KHneOWoZ8g..YBCapkdvAuIgKEyKsPIkB0kQBrn3m1tnaDx6UVwQu";

fn user(username: &str, email: Option<&str>, stored: &str) -> ImportedUser {
    ImportedUser {
        id: UserId::random(&SystemEntropy).expect("entropy"),
        user: NewUser {
            username: Username::new(username).expect("fit"),
            email: email.map(|email| Email::new(email).expect("fit")),
            name: Name::new("A Name").expect("fit"),
            admin: false,
        },
        password: Initial { hash: hash(stored), one_time: None },
        disabled: false,
        created_at: None,
        totp_secret: None,
    }
}

fn import_of(users: Vec<ImportedUser>) -> Import {
    Import { users, dry_run: false, by: Actor::CommandLine, origin: Origin::default() }
}

async fn import(fresh: &Fresh, users: Vec<ImportedUser>) -> Vec<Clash> {
    fresh.store.import_users(import_of(users)).await.expect("a store")
}

#[on_both_stores]
async fn users_are_imported_as_they_are(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (made, one_time) = (later(5), Some(OneTime { expires_at: None }));
        let mut ann = user("Ann", Some("ann@example.com"), BCRYPT);
        (ann.disabled, ann.created_at, ann.password.one_time, ann.user.admin) = (true, Some(made), one_time, true);
        let id = ann.id;
        assert_eq!(import(fresh, vec![ann, user("bob", None, "!")]).await, []);
        let ann = fresh.store.credentials(&LoginName::email("ANN@example.com")).await.expect("a store").expect("there");
        assert_eq!((ann.user.id, ann.user.username.as_str(), ann.user.admin), (id, "Ann", true));
        assert_eq!((ann.user.disabled_at, ann.user.created_at, ann.user.updated_at), (Some(BEGIN), made, BEGIN));
        assert_eq!((ann.password_hash.as_str(), ann.one_time), (BCRYPT, one_time));
        let bob = fresh.store.credentials(&LoginName::username("bob")).await.expect("a store").expect("there");
        assert_eq!((bob.user.created_at, bob.user.disabled_at, bob.one_time), (BEGIN, None, None));
        assert_eq!(fresh.audit().await["user_created"], 2);
        assert_eq!(fresh.audit().await["users_imported"], 1);
    })
    .await;
}

#[on_both_stores]
async fn a_second_factor_is_in_force_at_once_and_has_no_recovery_codes(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let (mut ann, bob) = (user("ann", None, BCRYPT), user("bob", None, BCRYPT));
        let (secret, keys) = (TotpSecret::from_bytes(vec![7; 10]).expect("fit"), FactorKeys::new([7; 32], None));
        let sealed = keys.seal(&secret, ann.id, &SystemEntropy).expect("entropy");
        ann.totp_secret = Some(sealed.clone());
        let (with, without) = (ann.id, bob.id);
        let dry = Import { dry_run: true, ..import_of(vec![ann.clone()]) };
        assert_eq!(fresh.store.import_users(dry).await.expect("a store"), []);
        assert!(fresh.store.second_factor(with).await.expect("a store").is_none());
        assert_eq!(import(fresh, vec![ann, bob]).await, []);
        let factor = fresh.store.second_factor(with).await.expect("a store").expect("in force");
        assert_eq!((&factor.secret, factor.last_step, factor.confirmed_at), (&sealed, Step(0), BEGIN));
        assert_eq!(factor.recovery_codes, 0);
        assert!(fresh.store.second_factor(without).await.expect("a store").is_none());
        let exported = fresh.store.users_to_export(None, 5).await.expect("a store");
        let secrets: Vec<_> = exported.iter().filter_map(|user| user.totp_secret.as_ref()).collect();
        assert_eq!((exported.len(), secrets), (2, vec![&sealed]));
        assert_eq!(fresh.audit().await["second_factor_set"], 1);
    })
    .await;
}

#[on_both_stores]
async fn of_users_of_whom_one_clashes_none_is_made(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        let dave = user("dave", Some("dave@example.com"), "!");
        let id = dave.id;
        let dry = Import { dry_run: true, ..import_of(vec![dave.clone()]) };
        assert_eq!(fresh.store.import_users(dry).await.expect("a store"), []);
        assert_eq!(fresh.store.users().await.expect("a store"), [], "a dry run makes nobody");
        assert_eq!(import(fresh, vec![dave]).await, []);
        let before = fresh.lines().await.len();

        let mut same_id = user("erin", None, "!");
        same_id.id = id;
        let users = vec![user("frank", None, "!"), user("DAVE", Some("DAVE@example.com"), "!"), same_id];
        let clash = |place, common| Clash { place, common, with: "dave".into() };
        let clashes = [clash(1, Common::Username), clash(1, Common::Email), clash(2, Common::Id)];
        assert_eq!(import(fresh, users).await, clashes);
        assert_eq!(fresh.store.users().await.expect("a store").len(), 1);
        assert_eq!(fresh.lines().await.len(), before, "nor is there an event");

        // Whatever names a user by id or username must not mean another.
        let (by_id, mut by_name) = (user(id.as_str(), None, "!"), user("grace", None, "!"));
        let named_so = user("23456789ABCDEFGHJ", None, "!");
        by_name.id = "23456789ABCDEFGHJ".parse().expect("an id");
        let clash = |place, common, with: &str| Clash { place, common, with: with.into() };
        assert_eq!(import(fresh, vec![named_so.clone(), by_id]).await, [clash(1, Common::UsernameIsId, "dave")]);
        assert_eq!(import(fresh, vec![named_so]).await, []);
        let clashes = [clash(0, Common::IdIsUsername, "23456789ABCDEFGHJ")];
        assert_eq!(import(fresh, vec![by_name]).await, clashes);
        assert_eq!(fresh.store.users().await.expect("a store").len(), 2);

        // Of imports at once of the same name, exactly one makes it.
        let at_once = (0..4).map(|_| fresh.store.import_users(import_of(vec![user("twin", None, "!")])));
        let made = join_all(at_once).await.into_iter().filter(|made| matches!(made, Ok(clashes) if clashes.is_empty()));
        assert_eq!(made.count(), 1);
        assert_eq!(fresh.store.users().await.expect("a store").len(), 3);
    })
    .await;
}

#[on_both_stores]
async fn every_kind_of_hash_from_elsewhere_is_found_and_none_of_ours(store: StoreKind) {
    on_a_fresh_store(store, async |fresh| {
        assert_eq!(fresh.store.foreign_hash(FIRST_FOREIGN).await.expect("a store"), None);
        let stored = [
            "!",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
            "argon2id:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY",
            BCRYPT,
            "bcrypt:$2b$10$FpEmnEySigVGNUIuAEEzreLqjYe8k6goxl8zYkHAA50LtE9BXo6cy",
            "bcrypt:$2y$05$XqvYTcURHSKthcnRNvQNHO2Wcay4KJmVpRoMUFiMIcRc.CMzJEYI.",
            "bcrypt:nonsense",
            "rocketchat:$2b$10$bepkAlFdEWfDZjOLgw50begvAy/lKIW.6DMPj8enI6Uorb6DezNwu",
        ];
        let users = stored.iter().zip(0..).map(|(stored, number)| user(&format!("user{number}"), None, stored)).collect();
        assert_eq!(import(fresh, users).await, []);
        let (mut kinds, mut from) = (Vec::new(), FIRST_FOREIGN.to_owned());
        while let Some(found) = fresh.store.foreign_hash(&from).await.expect("a store") {
            from = after_its_kind(&found);
            kinds.push(from.clone());
        }
        let expected = [
            "argon2id:$argon2id$v=19$m=19456,t=2,p=1%",
            "bcrypt:$2b$10%",
            "bcrypt:$2y$05%",
            "bcrypt:nonsense ",
            "rocketchat:$2b$10%",
        ];
        assert_eq!(kinds, expected);

        let first = fresh.store.users_to_export(None, 5).await.expect("a store");
        let last = first.last().map(|user| user.known.user.id);
        let rest = fresh.store.users_to_export(last, 5).await.expect("a store");
        let all: Vec<_> = first.iter().chain(&rest).map(|user| user.known.user.id).collect();
        assert!(first.len() == 5 && all.len() == stored.len() && all.is_sorted(), "{all:?}");
    })
    .await;
}

#[tokio::test]
async fn of_two_imports_into_a_file_at_once_the_earlier_makes_nobody() {
    on_a_fresh_store(StoreKind::Sqlite, async |fresh| {
        let many = (0..5_000).map(|number| user(&format!("early{number}"), None, BCRYPT)).collect();
        let later = async {
            until("the earlier one has begun", async || {
                fresh.database.number("SELECT count(*) FROM users WHERE deleted_at = -1").await > 0
            })
            .await;
            import(fresh, vec![user("late", None, BCRYPT)]).await
        };
        let (earlier, later) = tokio::join!(fresh.store.import_users(import_of(many)), later);
        let refused = earlier.expect_err("nobody").to_string();
        assert!(refused.contains("another import") && refused.contains("nobody was imported"), "{refused}");
        assert_eq!(later, []);
        assert_eq!(fresh.database.number("SELECT count(*) FROM users").await, 1, "and nothing is left of the other");
        assert_eq!(fresh.audit().await["user_created"], 1);
    })
    .await;
}
