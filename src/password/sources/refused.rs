//! Hashes that are known and never taken over, by what they begin with: weak ones, faulty ones, and such as cannot be
//! checked with the hash alone.

/// What a hash begins with, and why it is refused, in words that go behind "its hash".
const REFUSED: &[(&str, &str)] = &[
    ("$apr1$", "is of `$apr1$`, which is MD5 and too weak to be taken over"),
    ("$1$", "is of `$1$`, which is MD5 and too weak to be taken over"),
    ("$md5$", "is of MD5, which is too weak to be taken over"),
    ("md5$", "is of MD5, which is too weak to be taken over"),
    ("unsalted_md5$", "is of MD5, which is too weak to be taken over"),
    ("{MD5}", "is of MD5, which is too weak to be taken over"),
    ("{SMD5}", "is of MD5, which is too weak to be taken over"),
    ("{SHA}", "is of `{SHA}`, which is SHA-1 without a salt and too weak to be taken over"),
    ("{SSHA}", "is of `{SSHA}`, which is SHA-1 and too weak to be taken over"),
    ("{SSHA256}", "is of `{SSHA256}`, which is one round of SHA-256 and too weak to be taken over"),
    ("{SSHA512}", "is of `{SSHA512}`, which is one round of SHA-512 and too weak to be taken over"),
    ("{CRYPT}", "is of `{CRYPT}`: give what stands behind it, with the scheme that it is of"),
    ("{PLAIN}", "is a password in clear text, which is not taken over"),
    ("$sha1$", "is of SHA-1, which is too weak to be taken over"),
    ("sha1$", "is of SHA-1, which is too weak to be taken over"),
    ("unsalted_sha1$", "is of SHA-1, which is too weak to be taken over"),
    ("$pbkdf2$", "is of PBKDF2 with SHA-1, which is not taken over"),
    ("pbkdf2_sha1$", "is of PBKDF2 with SHA-1, which is not taken over"),
    ("pbkdf2:sha1", "is of PBKDF2 with SHA-1, which is not taken over"),
    ("crypt$", "is of the DES of Unix, which is too weak to be taken over"),
    ("$2x$", "is of `$2x$`, whose computation was faulty"),
    ("$argon2d$", "is of argon2d, which is not made for passwords"),
    ("argon2$argon2d$", "is of argon2d, which is not made for passwords"),
    ("$bcrypt-sha256$", "is of passlib's bcrypt-sha256, which is not taken over"),
    ("$P$", "is of phpass, which is MD5 and too weak to be taken over"),
    ("$H$", "is of phpass, which is MD5 and too weak to be taken over"),
    ("$wp$", "is of WordPress, which hashes before bcrypt in its own way, and is not taken over"),
    ("$S$", "is of Drupal, which is not taken over"),
    ("$y$", "is of yescrypt, which is not taken over"),
    ("$gy$", "is of gost-yescrypt, which is not taken over"),
    ("$7$", "is of scrypt in a form that is not taken over"),
    ("$firescrypt$", "is of Firebase, which needs the signer key of its project, and is not taken over"),
];

/// How long a hash of the DES of Unix is.
const DES: usize = 13;

/// Why a hash is refused that is known by what it begins with.
pub(super) fn by_name(text: &str) -> Option<&'static str> {
    let begins = |(beginning, _): &&(&str, &str)| text.starts_with(beginning);
    let is_des =
        text.len() == DES && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/'));
    let des = is_des.then_some("looks like the DES of Unix, which is too weak to be taken over");
    REFUSED.iter().find(begins).map(|(_, why)| *why).or(des)
}
