//! Maps columns and rows to the types of the domain, for both databases. A value that has no meaning is an error, never
//! a default.

use std::error::Error;

use sqlx::encode::IsNull;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo};
use sqlx::{ColumnIndex, Database, Decode, Encode, FromRow, Row, Type};

use super::{Enrolment, EventNumber, ExportedUser, Factor, ListedSession, Lookup, PendingLogin, Replica, StoredEvent};
use crate::domain::clock::Timestamp;
use crate::domain::id::{EnrolmentId, ReplicaId, SessionId, UserId};
use crate::domain::password::PasswordHash;
use crate::domain::revocation::Seq;
use crate::domain::second_factor::sealed::{KeyId, RecoveryHash, SealedSecret};
use crate::domain::second_factor::totp::Step;
use crate::domain::session::{Client, Expiry, Session};
use crate::domain::text::{Email, Name, Username};
use crate::domain::throttle::ThrottleKey;
use crate::domain::token::TokenHash;
use crate::domain::user::{Account, Credentials, OneTime, User};

/// Why a value cannot be written or read, as the driver takes it.
type BoxError = Box<dyn Error + Send + Sync>;

/// Lets a type of the domain be bound to a statement, and read out of a column, as a plain type that both databases have.
macro_rules! column {
    ($type:ty as $plain:ty, $this:ident => $written:expr, $value:ident => $read:expr) => {
        impl<DB: Database> Type<DB> for $type
        where
            $plain: Type<DB>,
        {
            fn type_info() -> DB::TypeInfo {
                <$plain as Type<DB>>::type_info()
            }

            fn compatible(info: &DB::TypeInfo) -> bool {
                <$plain as Type<DB>>::compatible(info)
            }
        }

        impl<'q, DB: Database> Encode<'q, DB> for $type
        where
            for<'v> Borrowed<'v, $plain>: Encode<'q, DB>,
        {
            fn encode_by_ref(&self, buffer: &mut DB::ArgumentBuffer) -> Result<IsNull, BoxError> {
                let $this = self;
                Encode::<DB>::encode($written, buffer)
            }
        }

        impl<'r, DB: Database> Decode<'r, DB> for $type
        where
            Borrowed<'r, $plain>: Decode<'r, DB>,
        {
            fn decode(value: DB::ValueRef<'r>) -> Result<Self, BoxError> {
                let $value = <Borrowed<'r, $plain> as Decode<DB>>::decode(value)?;
                Ok($read)
            }
        }

        impl PgHasArrayType for $type {
            fn array_type_info() -> PgTypeInfo {
                <$plain as PgHasArrayType>::array_type_info()
            }
        }
    };
}

/// How a plain type is passed to the driver and read from it.
type Borrowed<'v, T> = <T as Plain>::Borrowed<'v>;

/// A type that a column has in both databases.
trait Plain {
    /// The borrowed form of the type.
    type Borrowed<'v>;
}

impl Plain for String {
    type Borrowed<'v> = &'v str;
}

impl Plain for Vec<u8> {
    type Borrowed<'v> = &'v [u8];
}

impl Plain for i64 {
    type Borrowed<'v> = Self;
}

column!(UserId as String, id => id.as_str(), value => value.parse()?);
column!(SessionId as String, id => id.as_str(), value => value.parse()?);
column!(EnrolmentId as String, id => id.as_str(), value => value.parse()?);
column!(ReplicaId as String, id => id.as_str(), value => value.parse()?);
column!(Username as String, name => name.as_str(), value => Self::stored(value.to_owned()));
column!(Email as String, email => email.as_str(), value => Self::stored(value.to_owned()));
column!(Name as String, name => name.as_str(), value => Self::stored(value.to_owned()));
column!(PasswordHash as String, hash => hash.as_str(), value => Self::new(value.to_owned()));
column!(Timestamp as i64, at => at.millis(), value => Self::from_millis(value));
column!(Seq as i64, seq => seq.0, value => Self(value));
column!(Step as i64, step => step.0, value => Self(value));
column!(SealedSecret as Vec<u8>, secret => secret.as_bytes(), value => Self::from_bytes(value.to_vec()));
column!(RecoveryHash as String, hash => hash.as_str(), value => Self::stored(value)?);
column!(KeyId as Vec<u8>, id => id.as_bytes().as_slice(), value => Self::from_bytes(value.try_into()?));
column!(TokenHash as Vec<u8>, hash => hash.as_bytes().as_slice(), value => Self::from_bytes(value.try_into()?));

column!(ThrottleKey as Vec<u8>, key => key.as_bytes().as_slice(), value => Self::from_bytes(value.try_into()?));
column!(Secret as Vec<u8>, secret => secret.0.as_slice(), value => Self(value.try_into()?));

/// The columns of a user that a statement selects, under these names.
#[derive(FromRow)]
pub(super) struct UserRow {
    user_id: UserId,
    username: Username,
    email: Option<Email>,
    name: Name,
    admin: bool,
    disabled_at: Option<Timestamp>,
    user_created_at: Timestamp,
    user_updated_at: Timestamp,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.user_id,
            username: row.username,
            email: row.email,
            name: row.name,
            admin: row.admin,
            disabled_at: row.disabled_at,
            created_at: row.user_created_at,
            updated_at: row.user_updated_at,
        }
    }
}

/// A user, and what a login is checked against.
#[derive(FromRow)]
pub(super) struct CredentialsRow {
    #[sqlx(flatten)]
    user: UserRow,
    password_hash: PasswordHash,
    auth_epoch: i64,
    must_change_password: bool,
    password_expires_at: Option<Timestamp>,
}

impl From<CredentialsRow> for Credentials {
    fn from(row: CredentialsRow) -> Self {
        let one_time = row.must_change_password.then_some(OneTime { expires_at: row.password_expires_at });
        Self { user: row.user.into(), password_hash: row.password_hash, auth_epoch: row.auth_epoch, one_time }
    }
}

/// A user, what a login is checked against, and the secret of their second factor.
#[derive(FromRow)]
pub(super) struct ExportedUserRow {
    #[sqlx(flatten)]
    known: CredentialsRow,
    totp_secret: Option<SealedSecret>,
}

impl From<ExportedUserRow> for ExportedUser {
    fn from(ExportedUserRow { known, totp_secret }: ExportedUserRow) -> Self {
        Self { known: known.into(), totp_secret }
    }
}

/// A user, and what administrators see beside.
#[derive(FromRow)]
pub(super) struct AccountRow {
    #[sqlx(flatten)]
    user: UserRow,
    must_change_password: bool,
    last_login_at: Option<Timestamp>,
    second_factor: bool,
}

impl From<AccountRow> for Account {
    fn from(row: AccountRow) -> Self {
        let AccountRow { user, must_change_password, last_login_at, second_factor } = row;
        Self { user: user.into(), must_change_password, last_login_at, second_factor }
    }
}

/// The columns of a session that a statement selects, under these names.
#[derive(FromRow)]
pub(super) struct SessionRow {
    id: SessionId,
    user_id: UserId,
    created_at: Timestamp,
    last_seen_at: Timestamp,
    idle_expires_at: Timestamp,
    expires_at: Timestamp,
    remembered: bool,
    ip: String,
    user_agent: String,
    host: String,
}

impl From<SessionRow> for Session {
    fn from(row: SessionRow) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            created_at: row.created_at,
            last_seen_at: row.last_seen_at,
            expiry: Expiry { idle: row.idle_expires_at, absolute: row.expires_at },
            remembered: row.remembered,
            client: Client { ip: row.ip, user_agent: row.user_agent, host: row.host, request_id: String::new() },
        }
    }
}

/// The log's newest number, and a session or as many nulls: a left join returns the number even where there is no
/// session.
pub(super) struct ListedRow {
    pub(super) head: Seq,
    pub(super) session: Option<Session>,
}

impl<'r, R: Row> FromRow<'r, R> for ListedRow
where
    &'static str: ColumnIndex<R>,
    Seq: Decode<'r, R::Database> + Type<R::Database>,
    Option<SessionId>: Decode<'r, R::Database> + Type<R::Database>,
    SessionRow: FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let id: Option<SessionId> = row.try_get("id")?;
        let session = id.map(|_| SessionRow::from_row(row)).transpose()?;
        Ok(Self { head: row.try_get("head")?, session: session.map(Session::from) })
    }
}

/// A live session, and its user's name.
#[derive(FromRow)]
pub(super) struct ListedSessionRow {
    number: i64,
    #[sqlx(flatten)]
    session: SessionRow,
    username: Username,
    name: Name,
}

impl From<ListedSessionRow> for ListedSession {
    fn from(row: ListedSessionRow) -> Self {
        Self { number: row.number, session: row.session.into(), username: row.username, name: row.name }
    }
}

/// An event.
#[derive(FromRow)]
pub(super) struct StoredEventRow {
    number: i64,
    at: Timestamp,
    kind: String,
    actor: String,
    actor_name: Option<String>,
    user_id: Option<String>,
    name: Option<String>,
    session_id: Option<String>,
    ip: Option<String>,
    user_agent: Option<String>,
    detail: Option<String>,
    request_id: Option<String>,
    count: i64,
}

impl From<StoredEventRow> for StoredEvent {
    fn from(row: StoredEventRow) -> Self {
        Self {
            number: EventNumber(row.number),
            at: row.at,
            kind: row.kind,
            actor: row.actor,
            actor_name: row.actor_name,
            user_id: row.user_id,
            name: row.name,
            session_id: row.session_id,
            ip: row.ip,
            user_agent: row.user_agent,
            detail: row.detail,
            request_id: row.request_id,
            count: row.count,
        }
    }
}

/// A stretch of numbers in a table: from `first` to before `end`.
pub(super) struct Stretch {
    pub(super) first: i64,
    pub(super) end: i64,
    /// Where the next stretch ends; none after the oldest row.
    pub(super) next: Option<i64>,
}

impl Stretch {
    /// The stretch of at most `rows` numbers that ends before `before`, or behind the newest row, in a table with these
    /// lowest and highest numbers.
    pub(super) fn of(ends: Option<(Option<i64>, Option<i64>)>, before: Option<i64>, rows: u32) -> Self {
        let Some((Some(lowest), Some(highest))) = ends else { return Self { first: 0, end: 0, next: None } };
        let end = before.unwrap_or(i64::MAX).min(highest.saturating_add(1));
        let first = end.saturating_sub(i64::from(rows)).max(lowest);
        Self { first, end, next: (first > lowest).then_some(first) }
    }
}

/// When a session was revoked and under which number, its columns, and its user's.
pub(super) struct LookupRow(pub(super) Lookup);

impl<'r, R: Row> FromRow<'r, R> for LookupRow
where
    &'static str: ColumnIndex<R>,
    Option<Timestamp>: Decode<'r, R::Database> + Type<R::Database>,
    Option<Seq>: Decode<'r, R::Database> + Type<R::Database>,
    SessionRow: FromRow<'r, R>,
    UserRow: FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let revoked: (Option<Timestamp>, Option<Seq>) = (row.try_get("revoked_at")?, row.try_get("revoked_seq")?);
        let session = SessionRow::from_row(row)?;
        match revoked {
            (None, None) => {
                let user = UserRow::from_row(row)?;
                Ok(Self(Lookup::Found(Box::new((session.into(), user.into())))))
            }
            (Some(_), Some(seq)) => Ok(Self(Lookup::Revoked(seq))),
            (Some(_), None) | (None, Some(_)) => {
                let half = format!("the tombstone of session {} is half written", session.id);
                Err(sqlx::Error::ColumnDecode { index: String::from("revoked_seq"), source: half.into() })
            }
        }
    }
}

/// A value that is kept under a name: 32 bytes.
pub(super) struct Secret(pub(super) [u8; 32]);

/// The row of a process that serves.
#[derive(FromRow)]
pub(super) struct ReplicaRow {
    id: ReplicaId,
    beat: i64,
    applied: Seq,
    caching: bool,
}

impl From<ReplicaRow> for Replica {
    fn from(row: ReplicaRow) -> Self {
        Self { id: row.id, beat: row.beat, applied: row.applied, caching: row.caching }
    }
}

/// A second factor in force, and how many recovery codes are left.
#[derive(FromRow)]
pub(super) struct FactorRow {
    secret: SealedSecret,
    last_step: Step,
    confirmed_at: Timestamp,
    recovery_codes: i64,
}

impl From<FactorRow> for Factor {
    fn from(FactorRow { secret, last_step, confirmed_at, recovery_codes }: FactorRow) -> Self {
        Self { secret, last_step, confirmed_at, recovery_codes }
    }
}

/// A second factor that is being set up.
#[derive(FromRow)]
pub(super) struct EnrolmentRow {
    id: EnrolmentId,
    secret: SealedSecret,
    started_at: Timestamp,
}

impl From<EnrolmentRow> for Enrolment {
    fn from(EnrolmentRow { id, secret, started_at }: EnrolmentRow) -> Self {
        Self { id, secret, started_at }
    }
}

/// A login that waits for a code.
#[derive(FromRow)]
pub(super) struct PendingLoginRow {
    user_id: UserId,
    auth_epoch: i64,
    remembered: bool,
    expires_at: Timestamp,
}

impl From<PendingLoginRow> for PendingLogin {
    fn from(PendingLoginRow { user_id, auth_epoch, remembered, expires_at }: PendingLoginRow) -> Self {
        Self { user: user_id, auth_epoch, remembered, expires_at }
    }
}
