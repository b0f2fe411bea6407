//! `/admin`: users, sessions of all users and the audit, for administrators. To others, there is nothing here.
//!
//! What a page does is done by `service::admin`, as the admin API does it. `users` finds users, `new_user` makes one, `user`
//! shows and edits one, and `acts` asks about what ends something or gives it back, and does it. `sessions` lists those of
//! all users, `revoke` ends all that match the `filter`, and `events` shows the audit. `administrator` decides who gets in,
//! `lists` leads from page to page of a list, `ask` is the question before an act, `badges` what stands
//! out about a user, and `words` says what went wrong.

use axum::response::Response;

use self::administrator::Administrator;
use super::dialect::Pages;
use super::render::see_other;
use crate::http::routes::Routes;

mod acts;
mod administrator;
mod ask;
mod badges;
mod events;
mod filter;
mod lists;
mod new_user;
mod revoke;
mod sessions;
mod user;
mod users;
mod words;

/// Adds their routes. Each form is sent to the path of the page that it stands on, so that a person who has to sign in
/// first comes back to it.
pub fn add_routes(routes: Routes<Pages>) -> Routes<Pages> {
    routes
        .get("/admin", home)
        .get("/admin/users", users::list)
        .get("/admin/users/new", new_user::form)
        .change("/admin/users/new", new_user::add)
        .get("/admin/users/{id}", user::show)
        .revoke("/admin/users/{id}", user::change)
        .get("/admin/users/{id}/{act}", acts::ask)
        .revoke("/admin/users/{id}/{act}", acts::act)
        .get("/admin/sessions", sessions::list)
        .revoke("/admin/sessions", sessions::revoke)
        .get("/admin/sessions/revoke", revoke::ask)
        .revoke("/admin/sessions/revoke", revoke::revoke)
        .get("/admin/events", events::list)
}

/// `GET /admin`.
async fn home(_: Administrator) -> Response {
    see_other("/admin/users")
}
