//! HMACs and signed values in the formats of `django.core.signing` and `django.utils.crypto`.

use std::io::{Read, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use data_encoding::HEXLOWER;
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The maximum size of a signed value after decompression, in bytes: far more than [`Keys::dumps`] is called with.
const MAX_DECOMPRESSED: u64 = 16 << 20;

/// `SECRET_KEY`, and the older keys whose signatures are still accepted.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The key for new signatures.
    pub current: SecretString,
    /// `SECRET_KEY_FALLBACKS`.
    pub fallbacks: Vec<SecretString>,
}

impl Keys {
    /// The current key, then the fallbacks.
    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(&self.fallbacks)
            .map(ExposeSecret::expose_secret)
    }

    /// Django's `salted_hmac` with SHA-256. The HMAC's key is derived from `key_salt`, which names the purpose, and the secret key.
    pub fn salted_hmac(&self, key_salt: &str, value: &str) -> [u8; 32] {
        salted_hmac(key_salt, value, self.current.expose_secret())
    }

    /// [`Self::salted_hmac`] with each key, the current one first.
    pub fn salted_hmacs(&self, key_salt: &str, value: &str) -> impl Iterator<Item = [u8; 32]> {
        self.all().map(move |key| salted_hmac(key_salt, value, key))
    }

    /// Django's `signing.dumps` with compression: `object` as JSON with a timestamp, signed with the current key.
    pub fn dumps(&self, object: &Value, purpose: Purpose, now: DateTime<Utc>) -> String {
        let data = ascii_json(object, ",", ":").into_bytes();
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        let compressed = encoder.write_all(&data).and_then(|()| encoder.finish());
        let compressed = compressed.expect("writing to a Vec does not fail");
        let encoded = if compressed.len() + 1 < data.len() {
            format!(".{}", URL_SAFE_NO_PAD.encode(compressed))
        } else {
            URL_SAFE_NO_PAD.encode(data)
        };
        let value = format!("{encoded}:{}", base62(now.timestamp().max(0) as u64));
        let signature = purpose.sign(&value, self.current.expose_secret());
        format!("{value}:{signature}")
    }

    /// Django's `signing.loads` without a maximum age: the value in a text from [`Keys::dumps`]. `None` if the signature is not
    /// valid for any key, or the text is malformed.
    pub fn loads(&self, text: &str, purpose: Purpose) -> Option<Value> {
        let (value, signature) = text.rsplit_once(':')?;
        let is_valid = |key| {
            purpose
                .sign(value, key)
                .as_bytes()
                .ct_eq(signature.as_bytes())
                .into()
        };
        if !self.all().any(is_valid) {
            return None;
        }
        let (encoded, _) = value.rsplit_once(':')?;
        let data = match encoded.strip_prefix('.') {
            Some(compressed) => {
                let mut data = Vec::new();
                let compressed = URL_SAFE_NO_PAD.decode(compressed).ok()?;
                ZlibDecoder::new(&*compressed)
                    .take(MAX_DECOMPRESSED)
                    .read_to_end(&mut data)
                    .ok()?;
                data
            }
            None => URL_SAFE_NO_PAD.decode(encoded).ok()?,
        };
        serde_json::from_slice(&data).ok()
    }
}

/// The purpose of a signed value; a signature for another purpose is invalid.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// The rows of `django_session`.
    Sessions,
    /// The cookie `messages`.
    Messages,
    /// The user for whom a form was rendered; not in Django.
    Editor,
    /// A form that is stored during a login; not in Django.
    UnsavedForm,
}

impl Purpose {
    fn sign(self, value: &str, key: &str) -> String {
        let (salt, prefix) = match self {
            Self::Sessions => ("django.contrib.sessions.SessionStore", ""),
            Self::Messages => ("django.contrib.messages", "django.http.cookies"),
            Self::Editor => ("polls.admin.editor", ""),
            Self::UnsavedForm => ("polls.admin.unsaved_form", ""),
        };
        let hash = salted_hmac(&format!("{salt}signer"), value, &format!("{prefix}{key}"));
        URL_SAFE_NO_PAD.encode(hash)
    }
}

fn salted_hmac(key_salt: &str, value: &str, secret: &str) -> [u8; 32] {
    let key = Sha256::new()
        .chain_update(key_salt)
        .chain_update(secret)
        .finalize();
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC accepts keys of any length");
    mac.chain_update(value).finalize().into_bytes().into()
}

fn base62(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(BASE62[(number % 62) as usize]);
        number /= 62;
        if number == 0 {
            break;
        }
    }
    digits
        .iter()
        .rev()
        .map(|&digit| char::from(digit))
        .collect()
}

/// JSON as Python's `json.dumps` writes it, with the given separators. Non-ASCII characters are escaped as UTF-16 code
/// units, `\u00e9`.
pub fn ascii_json(value: &Value, comma: &str, colon: &str) -> String {
    fn joined<'a>(parts: impl Iterator<Item = String> + 'a, comma: &str) -> String {
        parts.collect::<Vec<_>>().join(comma)
    }
    match value {
        Value::Array(items) => {
            format!(
                "[{}]",
                joined(
                    items.iter().map(|item| ascii_json(item, comma, colon)),
                    comma
                )
            )
        }
        Value::Object(map) => {
            let pair = |(name, value): (&String, &Value)| {
                format!(
                    "{}{colon}{}",
                    ascii_text(name),
                    ascii_json(value, comma, colon)
                )
            };
            format!("{{{}}}", joined(map.iter().map(pair), comma))
        }
        Value::String(text) => ascii_text(text),
        other => other.to_string(),
    }
}

fn ascii_text(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a string serializes to JSON");
    let mut escaped = String::with_capacity(quoted.len());
    for c in quoted.chars() {
        if c.is_ascii() && c != '\u{7f}' {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped += &format!("\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// Bytes as lowercase hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}
