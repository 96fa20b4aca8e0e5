//! The format of the access log, in gunicorn's notation
//! (<https://docs.gunicorn.org/en/stable/settings.html#access-log-format>).

use std::str::FromStr;

use poem::http::HeaderName;
use serde::Serialize;

/// The format of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct AccessLogFormat {
    text: String,
    pieces: Vec<Piece>,
}

/// A part of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// The value of gunicorn's one-letter identifier.
    Atom(char),
    /// A request header.
    RequestHeader(HeaderName),
    /// A response header.
    ResponseHeader(HeaderName),
}

/// gunicorn's one-letter identifiers.
const ATOMS: &str = "hlutrmUqHsBbfaTMDLp";

/// Parts of the names of headers and variables that hold secrets: those of Django's `SafeExceptionReporterFilter`, and more.
const SECRETS: [&str; 8] = [
    "api", "auth", "cookie", "csrf", "key", "pass", "secret", "token",
];

/// Whether a header or variable of this name holds a secret.
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
    /// Gunicorn's, without user and time, which the log has anyway, and with the duration and the request id.
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
        let header_name = |name: String| HeaderName::try_from(name).map_err(|_| unknown());
        return match kind {
            // More people can read a log than the secrets in it.
            "i" | "o" if is_secret(&name) => {
                Err(format!("%({atom})s would put a secret into the log"))
            }
            "i" => Ok(Piece::RequestHeader(header_name(name)?)),
            "o" => Ok(Piece::ResponseHeader(header_name(name)?)),
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
