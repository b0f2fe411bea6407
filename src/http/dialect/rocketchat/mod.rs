//! Rocket.Chat's contract, `/api/v1/*`: `X-User-Id` and `X-Auth-Token`, and its several shapes of refusal.

pub use self::words::RocketChat;
use crate::http::routes::Routes;

mod login;
mod logout;
mod sessions;
mod words;

/// Its routes, under `/api/v1`.
pub fn routes() -> Routes<RocketChat> {
    Routes::default()
        .change("/login", login::login)
        .revoke_by_post_or_get("/logout", logout::logout)
        .get("/me", login::me)
        .get("/sessions/list", sessions::list)
        .get("/sessions/info", sessions::info)
        .get("/sessions/list.all", sessions::list_all)
        .get("/sessions/info.admin", sessions::info_admin)
        .revoke("/sessions/logout", logout::logout_any)
        .revoke("/sessions/logout.me", logout::logout_me)
        .revoke("/users.logout", logout::users_logout)
        .revoke("/users.removeOtherTokens", logout::remove_other_tokens)
        .revoke("/users.logoutOtherClients", logout::logout_other_clients)
}
