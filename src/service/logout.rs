//! Logging out.

use futures_util::future::join_all;

use super::verify::Presented;
use super::{Error, Result, Service};
use crate::domain::event::Origin;
use crate::domain::session::Client;
use crate::store::{Logout, Result as StoreResult};

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
            let Origin { ip, request_id, .. } = client.origin();
            self.parts.store.logout(Logout { token: token.hash(), user: *user, ip, request_id })
        }));
        let mut ended = false;
        for revoked in logouts.await.into_iter().collect::<StoreResult<Vec<_>>>()? {
            ended |= self.settled_revoked(&revoked).await? > 0;
        }
        if ended { Ok(()) } else { Err(Error::NoSession) }
    }
}
