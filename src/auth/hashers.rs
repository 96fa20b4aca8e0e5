//! How passwords are stored: in Django's `pbkdf2_sha256$ITERATIONS$SALT$HASH`.

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::distr::{Alphanumeric, SampleString};
use sha2::Sha256;

/// Django 5.2's cost.
const ITERATIONS: u32 = 1_000_000;
/// Characters of a salt: 128 bits of 62 letters, rounded up.
const SALT_LENGTH: usize = 22;
/// What marks a password that nobody can log in with.
const UNUSABLE_PREFIX: &str = "!";
const UNUSABLE_LENGTH: usize = 40;

/// Hashes a password with a fresh salt, on a thread of its own: it takes a good part of a second.
pub async fn make_password(password: String) -> String {
    let salt = Alphanumeric.sample_string(&mut rand::rng(), SALT_LENGTH);
    let hash = tokio::task::spawn_blocking(move || pbkdf2_sha256(&password, &salt, ITERATIONS));
    hash.await.expect("hashing does not panic")
}

/// A stored value that no password fits.
pub fn unusable_password() -> String {
    UNUSABLE_PREFIX.to_owned() + &Alphanumeric.sample_string(&mut rand::rng(), UNUSABLE_LENGTH)
}

/// The stored form of a password: PBKDF2 with HMAC-SHA256 (RFC 8018), the salt taken as it is written.
pub fn pbkdf2_sha256(password: &str, salt: &str, iterations: u32) -> String {
    let mut hash = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), iterations, &mut hash);
    format!(
        "pbkdf2_sha256${iterations}${salt}${}",
        STANDARD.encode(hash)
    )
}
