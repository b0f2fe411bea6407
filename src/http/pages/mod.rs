//! Pages for people, without scripts: signing in and out, one's sessions, and one's password.
//!
//! `render` makes answers of the templates in `templates/`, with the headers that every page has; `texts` holds every
//! text in each language, and `assets` the stylesheet and the icon. `errors` shows refusals to people, and `form_refusal`
//! those that are said above a form; `again` asks for the password once more, and `signed_in` sends those to the login page
//! who have no session. `card` is a session as pages show it, and `admin` holds the pages of administrators.

pub use self::dialect::Pages;
use super::routes::Routes;

mod admin;
mod again;
mod assets;
mod card;
mod dialect;
pub mod errors;
mod form_refusal;
mod login;
mod login_code;
mod logout;
mod password;
mod qr;
mod render;
mod second_factor;
mod sessions;
mod signed_in;
mod texts;

/// Their routes.
pub fn routes() -> Routes<Pages> {
    let routes = Routes::default()
        .get("/", sessions::home)
        .get("/login", login::form)
        .change("/login", login::sign_in)
        .get("/login/code", login_code::form)
        .change("/login/code", login_code::sign_in)
        .get("/logout", logout::form)
        .revoke("/logout", logout::sign_out)
        .get("/sessions", sessions::list)
        .revoke("/sessions", sessions::revoke)
        .get("/password", password::form)
        .revoke("/password", password::change)
        .get("/second-factor", second_factor::show)
        .revoke("/second-factor", second_factor::change)
        .get("/.well-known/change-password", password::well_known)
        .get("/assets/{name}", assets::serve);
    admin::add_routes(routes)
}
