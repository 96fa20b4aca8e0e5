//! Password hashes in Django's formats (`django/contrib/auth/hashers.py`): written as `pbkdf2_sha256`, read in
//! every format of Django's default `PASSWORD_HASHERS`.

use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::STANDARD_NO_PAD};
use rand::distr::{Alphanumeric, SampleString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::signing::hex;

/// Characters of a salt: 128 bits in an alphabet of 62 letters, rounded up. A hash with a shorter salt is renewed.
const SALT_LENGTH: usize = 22;
/// The prefix of an unusable password.
const UNUSABLE_PREFIX: &str = "!";
const UNUSABLE_LENGTH: usize = 40;

/// Upper bounds for the cost parameters of a stored hash, several times Django's defaults. A hash with higher costs is not
/// verified: it could exhaust the memory or block all logins.
const MAX_ITERATIONS: u32 = 20_000_000;
const MAX_MEMORY_KIB: u64 = 256 * 1024;
const MAX_ARGON2_PASSES: u32 = 16;
const MAX_LANES: u32 = 64;
const MAX_BCRYPT_COST: u32 = 16;

/// The result of comparing a password with a stored hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordCheck {
    /// The password is wrong, or the stored value is unusable.
    Wrong,
    /// The password is right.
    Right,
    /// The password is right, and its hash should be renewed: it has another algorithm, another cost or a short salt.
    Outdated,
}

/// Hashes a password with a random salt. Takes some tenths of a second.
pub fn make_password(password: &str, iterations: u32) -> String {
    let salt = Alphanumeric.sample_string(&mut rand::rng(), SALT_LENGTH);
    pbkdf2_sha256(password, &salt, iterations)
}

/// A new stored value that matches no password (Django's `make_password(None)`).
pub fn unusable_password() -> String {
    let random = Alphanumeric.sample_string(&mut rand::rng(), UNUSABLE_LENGTH);
    format!("{UNUSABLE_PREFIX}{random}")
}

/// Whether a stored value can match a password (Django's `is_password_usable`).
pub fn is_usable(encoded: &str) -> bool {
    !encoded.starts_with(UNUSABLE_PREFIX)
}

/// Whether a text has the form of a stored value: a hash of any algorithm, or an unusable one.
pub fn is_encoded(text: &str) -> bool {
    if let Some(random) = text.strip_prefix(UNUSABLE_PREFIX) {
        return random.len() == UNUSABLE_LENGTH
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
    }
    let mut parts = text.split('$');
    let algorithm = parts.next().unwrap_or_default();
    let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    !algorithm.is_empty() && algorithm.bytes().all(is_name) && parts.count() >= 2
}

/// The name of the algorithm of a stored value, if it is supported.
pub fn algorithm(encoded: &str) -> Option<&'static str> {
    [
        "pbkdf2_sha256",
        "pbkdf2_sha1",
        "argon2",
        "bcrypt_sha256",
        "scrypt",
    ]
    .into_iter()
    .find(|name| encoded.split('$').next() == Some(name))
}

/// Compares a password with a stored value; `iterations` is the cost of new hashes. With any stored value, a wrong
/// password takes at least as long as with a new hash, so that the time does not reveal old hashes, unusable ones and unknown
/// users.
pub fn check_password(password: &str, encoded: &str, iterations: u32) -> PasswordCheck {
    let parts: Vec<&str> = encoded.split('$').collect();
    let computed = match parts[..] {
        ["pbkdf2_sha256", rounds, salt, _] => {
            parse_rounds(rounds).map(|rounds| (pbkdf2_sha256(password, salt, rounds), rounds))
        }
        ["pbkdf2_sha1", rounds, salt, _] => {
            parse_rounds(rounds).map(|rounds| (pbkdf2_sha1(password, salt, rounds), rounds))
        }
        ["argon2", variant, version, costs, salt, hash] => {
            argon2(password, [variant, version, costs, salt, hash]).map(|text| (text, iterations))
        }
        ["bcrypt_sha256", "", version, cost, rest] => {
            bcrypt_sha256(password, version, cost, rest).map(|text| (text, iterations))
        }
        ["scrypt", n, salt, r, p, _] => {
            scrypt(password, [n, salt, r, p]).map(|text| (text, iterations))
        }
        _ => None,
    };
    let Some((computed, spent)) = computed else {
        harden_runtime(password, iterations);
        return PasswordCheck::Wrong;
    };
    if !bool::from(computed.as_bytes().ct_eq(encoded.as_bytes())) {
        harden_runtime(password, iterations.saturating_sub(spent));
        return PasswordCheck::Wrong;
    }
    let is_current = matches!(parts[..], ["pbkdf2_sha256", rounds, salt, _]
        if parse_rounds(rounds) == Some(iterations) && salt.len() >= SALT_LENGTH);
    if is_current {
        PasswordCheck::Right
    } else {
        PasswordCheck::Outdated
    }
}

/// Takes as long as hashing with `iterations` iterations (Django's `harden_runtime`).
pub fn harden_runtime(password: &str, iterations: u32) {
    if iterations > 0 {
        std::hint::black_box(pbkdf2_sha256(password, "salt", iterations));
    }
}

/// The stored value of a password: PBKDF2 with HMAC-SHA256 (RFC 8018), the salt's characters as bytes.
pub fn pbkdf2_sha256(password: &str, salt: &str, iterations: u32) -> String {
    let mut hash = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt.as_bytes(), iterations, &mut hash);
    format!(
        "pbkdf2_sha256${iterations}${salt}${}",
        STANDARD.encode(hash)
    )
}

fn pbkdf2_sha1(password: &str, salt: &str, iterations: u32) -> String {
    let mut hash = [0; 20];
    pbkdf2::pbkdf2_hmac::<Sha1>(password.as_bytes(), salt.as_bytes(), iterations, &mut hash);
    format!("pbkdf2_sha1${iterations}${salt}${}", STANDARD.encode(hash))
}

/// Argon2 (RFC 9106) in the PHC string format.
fn argon2(password: &str, [variant, version, costs, salt, hash]: [&str; 5]) -> Option<String> {
    let algorithm = match variant {
        "argon2i" => argon2::Algorithm::Argon2i,
        "argon2d" => argon2::Algorithm::Argon2d,
        "argon2id" => argon2::Algorithm::Argon2id,
        _ => return None,
    };
    let number: u32 = version.strip_prefix("v=")?.parse().ok()?;
    let mut values = costs
        .split(',')
        .zip(["m=", "t=", "p="])
        .map(|(cost, name)| {
            cost.strip_prefix(name)
                .and_then(|value| value.parse::<u32>().ok())
        });
    let (memory, time, lanes) = (values.next()??, values.next()??, values.next()??);
    if u64::from(memory) > MAX_MEMORY_KIB || time > MAX_ARGON2_PASSES || lanes > MAX_LANES {
        return None;
    }
    let mut computed = vec![0; STANDARD_NO_PAD.decode(hash).ok()?.len()];
    let params = argon2::Params::new(memory, time, lanes, Some(computed.len())).ok()?;
    argon2::Argon2::new(algorithm, argon2::Version::try_from(number).ok()?, params)
        .hash_password_into(
            password.as_bytes(),
            &STANDARD_NO_PAD.decode(salt).ok()?,
            &mut computed,
        )
        .ok()?;
    Some(format!(
        "argon2${variant}${version}${costs}${salt}${}",
        STANDARD_NO_PAD.encode(computed)
    ))
}

/// Bcrypt of the hexadecimal SHA-256 of the password, since bcrypt ignores bytes beyond the 72nd.
fn bcrypt_sha256(password: &str, version: &str, cost: &str, rest: &str) -> Option<String> {
    let (salt, _) = rest.split_at_checked(22)?;
    let bytes: [u8; 16] = bcrypt::BASE_64.decode(salt).ok()?.try_into().ok()?;
    let version = match version {
        "2a" => bcrypt::Version::TwoA,
        "2b" => bcrypt::Version::TwoB,
        "2y" => bcrypt::Version::TwoY,
        _ => return None,
    };
    let digest = hex(&Sha256::digest(password));
    let cost = cost.parse().ok().filter(|cost| *cost <= MAX_BCRYPT_COST)?;
    let parts = bcrypt::hash_with_salt(digest, cost, bytes).ok()?;
    Some(format!(
        "bcrypt_sha256${}",
        parts.format_for_version(version)
    ))
}

/// Scrypt (RFC 7914) with an output of 64 bytes.
fn scrypt(password: &str, [n, salt, r, p]: [&str; 4]) -> Option<String> {
    let work: u64 = n.parse().ok()?;
    if !work.is_power_of_two() {
        return None;
    }
    let (block, lanes): (u32, u32) = (r.parse().ok()?, p.parse().ok()?);
    // The memory is 128 bytes times work and block size (RFC 7914, section 2).
    let memory_kib = work.checked_mul(block.into())?.div_ceil(8);
    // In addition, 128 bytes times block size and lanes are allocated.
    let lanes_kib = u64::from(block).checked_mul(lanes.into())?.div_ceil(8);
    if memory_kib > MAX_MEMORY_KIB || lanes_kib > MAX_MEMORY_KIB || lanes > MAX_LANES {
        return None;
    }
    let params = scrypt::Params::new(work.ilog2() as u8, block, lanes).ok()?;
    let mut hash = [0; 64];
    scrypt::scrypt(password.as_bytes(), salt.as_bytes(), &params, &mut hash).ok()?;
    Some(format!(
        "scrypt${n}${salt}${r}${p}${}",
        STANDARD.encode(hash)
    ))
}

fn parse_rounds(text: &str) -> Option<u32> {
    text.parse()
        .ok()
        .filter(|rounds| (1..=MAX_ITERATIONS).contains(rounds))
}
