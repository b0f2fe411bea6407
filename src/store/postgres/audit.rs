//! Events on their way into the audit, column by column.

use sqlx::Arguments as _;
use sqlx::postgres::PgArguments;

use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::{SessionId, UserId};

/// Events, column by column.
#[derive(Default)]
struct Columns<'e> {
    at: Vec<Timestamp>,
    kind: Vec<&'static str>,
    user: Vec<Option<UserId>>,
    session: Vec<Option<SessionId>>,
    actor: Vec<&'e str>,
    ip: Vec<Option<&'e str>>,
    detail: Vec<Option<&'e str>>,
    name: Vec<Option<&'e str>>,
    actor_name: Vec<Option<&'e str>>,
    user_agent: Vec<Option<&'e str>>,
    request_id: Vec<Option<&'e str>>,
    count: Vec<i64>,
}

/// Adds the twelve columns of events, in the order in which they are inserted.
pub(super) fn add(arguments: &mut PgArguments, events: &[Event]) -> sqlx::Result<()> {
    let mut columns = Columns::default();
    for Event { at, kind, actor, user, session, ip, detail, name, actor_name, user_agent, request_id, count } in events
    {
        columns.at.push(*at);
        columns.kind.push(kind.as_str());
        columns.user.push(*user);
        columns.session.push(*session);
        columns.actor.push(actor.as_str());
        columns.ip.push(ip.as_deref());
        columns.detail.push(detail.as_deref());
        columns.name.push(name.as_deref());
        columns.actor_name.push(actor_name.as_deref());
        columns.user_agent.push(user_agent.as_deref());
        columns.request_id.push(request_id.as_deref());
        columns.count.push(*count);
    }
    let Columns { at, kind, user, session, actor, ip, detail, name, actor_name, user_agent, request_id, count } =
        columns;
    let added = || {
        arguments.add(at)?;
        arguments.add(kind)?;
        arguments.add(user)?;
        arguments.add(session)?;
        arguments.add(actor)?;
        arguments.add(ip)?;
        arguments.add(detail)?;
        arguments.add(name)?;
        arguments.add(actor_name)?;
        arguments.add(user_agent)?;
        arguments.add(request_id)?;
        arguments.add(count)
    };
    added().map_err(sqlx::Error::Encode)
}
