//! The administrators' API, `/api/v1/admin/*`, in the canonical envelope: `users`, `sessions` of all of them, and `events`.

use super::dialect::canonical::Canonical;
use super::routes::Routes;

mod administrator;
mod events;
mod sessions;
mod users;

/// Its routes, under `/api/v1/admin`.
pub fn routes() -> Routes<Canonical> {
    Routes::default()
        .get("/users", users::list)
        .change("/users", users::add)
        .get("/users/{id}", users::show)
        .change_by_patch("/users/{id}", users::edit)
        .revoke_by_delete("/users/{id}", users::delete)
        .revoke("/users/{id}/password", users::set_password)
        .revoke_by_delete("/users/{id}/second-factor", users::reset_second_factor)
        .change("/users/{id}/unlock", users::unlock)
        .get("/users/{id}/sessions", sessions::list_of_user)
        .revoke_by_delete("/users/{id}/sessions", sessions::revoke_all_of_user)
        .get("/sessions", sessions::list)
        .revoke("/sessions/revoke", sessions::revoke_fitting)
        .revoke_by_delete("/sessions/{id}", sessions::revoke_one)
        .get("/events", events::list)
}
