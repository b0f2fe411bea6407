//! Logging out.

use futures_util::future::join_all;

use super::verify::Presented;
use super::{Error, Result, Service};
use crate::domain::session::Client;
use crate::store::Logout;

impl Service {
    /// Ends every session that the credentials of a request stand for. When this answers, it is durable and true
    /// everywhere.
    ///
    /// # Errors
    /// [`Error::NoSession`] when they stand for no live session; a store error when one of them may be alive.
    pub async fn logout(&self, presented: &[Presented], client: &Client) -> Result<()> {
        let issued = presented.iter().filter(|presented| self.issued(&presented.token));
        // Handed in together, so that they share a commit.
        let logouts = join_all(issued.map(|Presented { token, user }| {
            self.parts.store.logout(Logout { token: token.hash(), user: *user, ip: Some(client.ip.clone()) })
        }));
        let (mut newest, mut ended) = (None, false);
        for revoked in logouts.await {
            let revoked = revoked?;
            newest = newest.max(Some(revoked.seq));
            ended |= !revoked.sessions.is_empty();
        }
        // What the newest number covers includes what the others do.
        if let Some(seq) = newest {
            self.settled(seq).await?;
        }
        if ended { Ok(()) } else { Err(Error::NoSession) }
    }
}
