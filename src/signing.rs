//! Keyed hashes and signed texts, byte for byte as `django.core.signing` and `django.utils.crypto` make them.

use std::io::{Read, Write};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What a signed text may unpack to, in bytes: far more than we ever write.
const MAX_UNPACKED: u64 = 16 << 20;

/// `SECRET_KEY`, and the older keys whose signatures are still accepted.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs what is new.
    pub current: SecretString,
    /// `SECRET_KEY_FALLBACKS`.
    pub fallbacks: Vec<SecretString>,
}

impl Keys {
    /// The current key, then the older ones.
    fn all(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(&self.fallbacks)
            .map(ExposeSecret::expose_secret)
    }

    /// HMAC-SHA256 with a key of its own for each purpose; `key_salt` names the purpose.
    pub fn salted_hmac(&self, key_salt: &str, value: &str) -> [u8; 32] {
        salted_hmac(key_salt, value, self.current.expose_secret())
    }

    /// The same under each key, the current one first.
    pub fn salted_hmacs(&self, key_salt: &str, value: &str) -> impl Iterator<Item = [u8; 32]> {
        self.all().map(move |key| salted_hmac(key_salt, value, key))
    }

    /// `signing.dumps` with compression: a signed text that holds `object` and the time.
    pub fn dumps(&self, object: &Value, purpose: Purpose, now: DateTime<Utc>) -> String {
        let data = ascii_json(object, ",", ":").into_bytes();
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        let compressed = encoder.write_all(&data).and_then(|()| encoder.finish());
        let compressed = compressed.expect("a vector takes all");
        let packed = if compressed.len() + 1 < data.len() {
            format!(".{}", URL_SAFE_NO_PAD.encode(compressed))
        } else {
            URL_SAFE_NO_PAD.encode(data)
        };
        let value = format!("{packed}:{}", base62(now.timestamp().max(0) as u64));
        let signature = purpose.sign(&value, self.current.expose_secret());
        format!("{value}:{signature}")
    }

    /// `signing.loads`, whatever the age: what [`Keys::dumps`] was given, if one of the keys has signed it.
    pub fn loads(&self, text: &str, purpose: Purpose) -> Option<Value> {
        let (value, signature) = text.rsplit_once(':')?;
        let is_ours = |key| {
            purpose
                .sign(value, key)
                .as_bytes()
                .ct_eq(signature.as_bytes())
                .into()
        };
        if !self.all().any(is_ours) {
            return None;
        }
        let (packed, _) = value.rsplit_once(':')?;
        let data = match packed.strip_prefix('.') {
            Some(compressed) => {
                let mut data = Vec::new();
                let compressed = URL_SAFE_NO_PAD.decode(compressed).ok()?;
                ZlibDecoder::new(&*compressed)
                    .take(MAX_UNPACKED)
                    .read_to_end(&mut data)
                    .ok()?;
                data
            }
            None => URL_SAFE_NO_PAD.decode(packed).ok()?,
        };
        serde_json::from_slice(&data).ok()
    }
}

/// What a signed text is for; one for another purpose does not pass.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// The rows of `django_session`.
    Sessions,
    /// The cookie `messages`.
    Messages,
    /// The user to whom a form was shown; unknown to Django.
    Editor,
    /// A form that is kept through a login; unknown to Django.
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
    let mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length is a key");
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

/// JSON as Python's `json.dumps` writes it: these separators, and everything beyond ASCII as `\u` with four digits.
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
    let quoted = serde_json::to_string(text).expect("a text is JSON");
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

/// Bytes as small hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
