//! The format of the access log, in gunicorn's notation
//! (<https://docs.gunicorn.org/en/stable/settings.html#access-log-format>).

use std::str::FromStr;

use serde::Serialize;

/// What each line holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct AccessLogFormat {
    text: String,
    pieces: Vec<Piece>,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// What gunicorn's letter stands for.
    Atom(char),
    /// A field of the request's head.
    RequestHeader(String),
    /// A field of the answer's head.
    ResponseHeader(String),
}

/// The letters that are known: those of gunicorn.
const ATOMS: &str = "hlutrmUqHsBbfaTMDLp";

/// Parts of names of what holds secrets: those of Django's `SafeExceptionReporterFilter`, and some more.
const SECRETS: [&str; 8] = [
    "api", "auth", "cookie", "csrf", "key", "pass", "secret", "token",
];

/// Whether a field of this name is not for other eyes.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|secret| name.contains(secret))
}

impl AccessLogFormat {
    /// The parts in their order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

impl Default for AccessLogFormat {
    /// Gunicorn's, without users and times, which the log's own lines have, and with the time taken and the request's id.
    fn default() -> Self {
        let format = r#"%(h)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s" %(M)sms %({x-request-id}o)s"#;
        format.parse().expect("is a format")
    }
}

impl FromStr for AccessLogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((plain, atom)) = rest.split_once("%(") {
            if !plain.is_empty() {
                pieces.push(Piece::Text(plain.replace("%%", "%")));
            }
            let (atom, after) = atom
                .split_once(")s")
                .ok_or_else(|| format!("%({atom} has no end: write %(NAME)s"))?;
            pieces.push(piece(atom)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.replace("%%", "%")));
        }
        Ok(Self {
            text: text.to_owned(),
            pieces,
        })
    }
}

fn piece(atom: &str) -> Result<Piece, String> {
    let unknown = || format!("%({atom})s is not known");
    if let Some(rest) = atom.strip_prefix('{') {
        let (name, kind) = rest.split_once('}').ok_or_else(unknown)?;
        let name = name.to_ascii_lowercase();
        return match kind {
            // A log is read by many.
            "i" | "o" if is_secret(&name) => {
                Err(format!("%({atom})s would put a secret into the log"))
            }
            "i" => Ok(Piece::RequestHeader(name)),
            "o" => Ok(Piece::ResponseHeader(name)),
            _ => Err(unknown()),
        };
    }
    let mut letters = atom.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if ATOMS.contains(letter) => Ok(Piece::Atom(letter)),
        _ => Err(unknown()),
    }
}

impl From<AccessLogFormat> for String {
    fn from(format: AccessLogFormat) -> Self {
        format.text
    }
}
