//! What can be wrong with a deployment.

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing answers at the URL.
    Unreachable,
    /// Its certificate is not accepted.
    Untrusted,
    /// The page is answered to everybody.
    NotProtected,
    /// The URL is sessiond's own.
    SessiondItself,
    /// The proxy gets no answer to its question.
    CheckFails,
    /// A browser is not sent to the login page.
    NotRedirected,
    /// The login page is not told where a browser came from.
    ReturnMissing,
    /// It is told another scheme.
    SchemeLost,
    /// It is told another host or port.
    ReturnHost,
    /// It is told another path or query.
    ReturnTarget,
    /// A script is redirected.
    FetchRedirected,
    /// A refusal may be kept by caches.
    RefusalHeaders,
    /// A client's own `X-Forwarded-…` is believed.
    ForwardedBelieved,
    /// A client is let in for what it says of itself.
    ClaimsBelieved,
    /// The login page asks for a session.
    LoginPageProtected,
    /// There is no login page.
    LoginPageMissing,
    /// Secrets go over the network in clear.
    InClear,
    /// Browsers are not told to stay with https.
    NoHsts,
    /// The username or the password is wrong.
    LoginRefused,
    /// There is no sessiond where one logs in.
    LoginAbsent,
    /// A login is answered by a failure.
    LoginFails,
    /// `Set-Cookie` does not arrive.
    CookieLost,
    /// The cookie lacks an attribute.
    CookieAttributes,
    /// Browsers do not send the cookie to the page.
    CookieOutOfReach,
    /// The proxy does not pass cookies to the check.
    CookieNotSeen,
    /// The page is refused with a session, however it is presented.
    SessionRefused,
    /// The login page does not lead back.
    ReturnNotAllowed,
    /// A client's own identity headers reach the application.
    IdentitySpoofed,
    /// A client can remove ours.
    IdentityVanishes,
    /// Ours do not arrive.
    IdentityIncomplete,
    /// Other cookies make requests too large.
    OtherCookies,
    /// A client can say where it comes from.
    AddressBelieved,
    /// Everybody has the address of the proxy.
    AddressOfProxy,
    /// Clocks are apart.
    ClockOff,
    /// Sessions end at odd times.
    Lifetimes,
    /// A refusal is kept.
    RefusalKept,
    /// An allowance is kept.
    AllowanceKept,
    /// A logout does not work.
    LogoutFails,
    /// A session could not be ended.
    LeftBehind,
}
