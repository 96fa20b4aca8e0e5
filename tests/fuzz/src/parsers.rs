//! The parsers alone: none may panic, and what can be read in two ways has to be read the same.

use std::sync::OnceLock;

use polls::{
    cli::seed::{self, Syntax},
    server::{
        framing::{Found, Framing, Limits},
        proxy,
    },
    signing::{Keys, Purpose},
    web::{cookies, csrf::Secret, form::Form},
};

pub fn cookies(bytes: &[u8]) {
    for name in ["csrftoken", "sessionid", "messages"] {
        if let Some(value) = cookies::find(bytes, name) {
            assert!(!value.contains(';'));
        }
    }
}

pub fn csrf(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(secret) = Secret::parse(text) {
        let plain = secret.to_string();
        assert_eq!(plain.len(), 32);
        let again = Secret::parse(&secret.masked()).expect("ours can be read");
        assert_eq!(again.to_string(), plain);
    }
}

pub fn fixtures(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for syntax in [Syntax::Yaml, Syntax::Json] {
        match seed::parse(text, syntax) {
            Ok((polls, _)) => drop(polls),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

pub fn forms(bytes: &[u8]) {
    match Form::parse(bytes, 20) {
        Some(form) => {
            assert!(form.iter().count() <= 20);
            for (name, _) in form.iter() {
                assert!(form.has(name) && form.get(name).is_some());
            }
        }
        None => assert!(bytes.iter().filter(|byte| **byte == b'&').count() >= 20),
    }
}

/// However the bytes are cut, the same requests have to be found, with the same ends.
pub fn framing(bytes: &[u8]) {
    let whole = ends(bytes, bytes.len().max(1));
    for piece in [1, 2, 7] {
        let cut = ends(bytes, piece);
        // Cut up, a mistake may be seen sooner, or called another; what was let through before it has to be the same.
        let common = whole.0.len().min(cut.0.len());
        assert_eq!(whole.0[..common], cut.0[..common]);
        assert_eq!(whole.1, cut.1, "{:?}", String::from_utf8_lossy(bytes));
    }
}

/// Where requests end, and whether all was sound.
fn ends(bytes: &[u8], piece: usize) -> (Vec<usize>, bool) {
    let limits = Limits {
        line: 64,
        fields: 8,
        field: 64,
    };
    let mut framing = Framing::new(limits);
    let (mut waiting, mut passed, mut ends) = (Vec::new(), 0, Vec::new());
    for piece in bytes.chunks(piece) {
        waiting.extend_from_slice(piece);
        loop {
            match framing.parse(&waiting) {
                Ok(Found::Bytes(count) | Found::Nothing(count)) => {
                    assert!((1..=waiting.len()).contains(&count));
                    waiting.drain(..count);
                    passed += count;
                }
                Ok(Found::More) => break,
                Err(_) => return (ends, false),
            }
            if framing.is_at_end() {
                ends.push(passed);
                framing.next_request();
            }
        }
    }
    (ends, true)
}

pub fn proxy(bytes: &[u8]) {
    let mut waiting = Default::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let _ = runtime.block_on(proxy::read_header(&mut &*bytes, &mut waiting));
}

pub fn sessions(bytes: &[u8]) {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let keys = KEYS.get_or_init(|| Keys {
        current: "fuzzing-key".to_owned().into(),
        fallbacks: Vec::new(),
    });
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for purpose in [Purpose::Sessions, Purpose::Messages] {
        // Without the key nothing can be signed.
        let _ = keys.loads(text, purpose);
        let value = serde_json::Value::from(text);
        let signed = keys.dumps(&value, purpose, chrono::DateTime::UNIX_EPOCH);
        assert_eq!(keys.loads(&signed, purpose), Some(value));
    }
}
