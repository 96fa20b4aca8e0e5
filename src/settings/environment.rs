//! The environment that settings are read from: the variables of the process and those of a file.

use std::{
    collections::HashMap,
    ffi::OsString,
    fmt::{self, Display},
    io,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;

/// The variables at one time. An empty value counts as unset, which is how orchestrators express "no value".
#[derive(Default)]
pub struct Environment {
    variables: HashMap<OsString, OsString>,
    file: Option<PathBuf>,
}

/// Without the variables, some of which are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let debug = &mut f.debug_struct("Environment");
        debug.field("file", &self.file).finish_non_exhaustive()
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        Self {
            variables: variables.map(|(k, v)| (k.into(), v.into())).collect(),
            file: None,
        }
    }
}

impl Environment {
    /// The variables of the process, completed by those of the file at `path`, which must then exist, or else of `.env` in
    /// the working directory if there is one.
    ///
    /// # Errors
    /// When the file cannot be read or a line in it is not `NAME=value`.
    pub fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        let file = path.unwrap_or_else(|| Path::new(".env"));
        let cannot_read = |error: dotenvy::Error| match error {
            // The line itself may hold a secret: name the file only.
            dotenvy::Error::LineParse(..) => {
                anyhow!("{} has a line that is not NAME=value.", file.display())
            }
            error => {
                anyhow::Error::new(error).context(format!("{} cannot be read", file.display()))
            }
        };
        let lines = match dotenvy::from_path_iter(file) {
            Ok(lines) => Some(lines),
            Err(error) if error.not_found() && path.is_none() => None,
            Err(error) => return Err(cannot_read(error)),
        };
        let mut environment = Self {
            file: lines.is_some().then(|| file.to_owned()),
            ..Self::default()
        };
        for line in lines.into_iter().flatten() {
            let (name, value) = line.map_err(cannot_read)?;
            environment.variables.insert(name.into(), value.into());
        }
        environment.variables.extend(std::env::vars_os());
        Ok(environment)
    }

    /// The file that was read besides the variables of the process, if any.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The value of a variable, if it is set.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn get(&self, name: &str) -> anyhow::Result<Option<&str>> {
        let Some(value) = self.variables.get(std::ffi::OsStr::new(name)) else {
            return Ok(None);
        };
        let value = value.to_str();
        let value = value.with_context(|| format!("{name} is not valid UTF-8."))?;
        Ok(Some(value).filter(|value| !value.is_empty()))
    }

    /// Whether a variable is set and not empty.
    pub fn is_set(&self, name: &str) -> bool {
        let value = self.variables.get(std::ffi::OsStr::new(name));
        value.is_some_and(|value| !value.is_empty())
    }

    /// A variable as a value of some type, if it is set; `expected` describes a valid value in the error.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> anyhow::Result<Option<T>> {
        let parse = |text| parse(name, text, expected);
        self.get(name)?.map(parse).transpose()
    }

    /// A variable as a boolean, if it is set.
    ///
    /// # Errors
    /// When it is neither true nor false.
    pub fn flag(&self, name: &str) -> anyhow::Result<Option<bool>> {
        let parse = |text| parse_flag(name, text);
        self.get(name)?.map(parse).transpose()
    }

    /// A variable as a list, separated by commas, if it is set.
    ///
    /// # Errors
    /// When an entry does not parse.
    pub fn list<T: FromStr<Err: Display>>(&self, name: &str) -> anyhow::Result<Option<Vec<T>>> {
        let parse = |text| parse_list(name, text);
        self.get(name)?.map(parse).transpose()
    }

    /// A secret from the variable `name`, or from the file that `name_FILE` names, without the line end at its end.
    ///
    /// # Errors
    /// When both are set, or the file cannot be read.
    pub fn secret(&self, name: &str) -> anyhow::Result<Option<SecretString>> {
        let Some(source) = self.secret_source(name)? else {
            return Ok(None);
        };
        let secret = source.read();
        secret.map(Some).with_context(|| {
            let path = self.get(&file_variable(name)).ok().flatten();
            let path = path.unwrap_or_default();
            format!("{} names {path}, which cannot be read", file_variable(name))
        })
    }

    /// Where the secret `name` is: in the variable, or in the file that `name_FILE` names, which may change.
    ///
    /// # Errors
    /// When both are set.
    pub fn secret_source(&self, name: &str) -> anyhow::Result<Option<SecretSource>> {
        let file_variable = file_variable(name);
        match (self.get(name)?, self.get(&file_variable)?) {
            (Some(_), Some(_)) => {
                bail!("{name} and {file_variable} are both set: use one of them.")
            }
            (Some(value), None) => Ok(Some(SecretSource::Value(value.into()))),
            (None, Some(path)) => Ok(Some(SecretSource::File(path.into()))),
            (None, None) => Ok(None),
        }
    }
}

fn file_variable(name: &str) -> String {
    format!("{name}_FILE")
}

/// Where a secret is.
#[derive(Debug, Clone)]
pub enum SecretSource {
    /// Here.
    Value(SecretString),
    /// In this file, which may change while the program runs, as the files of a Secret do in a pod.
    File(PathBuf),
}

impl SecretSource {
    /// The secret; of a file its present content, without the line end at its end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&self) -> io::Result<SecretString> {
        match self {
            Self::Value(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)?;
                Ok(text.trim_end_matches(['\r', '\n']).into())
            }
        }
    }
}

/// A value of the variable `name` as another type; `expected` describes a valid value in the error.
pub(super) fn parse<T: FromStr>(name: &str, text: &str, expected: &str) -> anyhow::Result<T> {
    let parsed = text.trim().parse();
    parsed.map_err(|_| anyhow!("{name} must be {expected}, not {text:?}."))
}

/// A value of the variable `name` as a boolean.
pub(super) fn parse_flag(name: &str, text: &str) -> anyhow::Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        other => bail!("{name} must be true or false, not {other:?}."),
    }
}

/// A value of the variable `name` as a list, separated by commas.
pub(super) fn parse_list<T: FromStr<Err: Display>>(
    name: &str,
    text: &str,
) -> anyhow::Result<Vec<T>> {
    let entries = text.split(',').map(str::trim);
    let parse = |entry: &str| {
        let parsed = entry.parse();
        parsed.map_err(|error| anyhow!("{name} has the entry {entry:?}: {error}."))
    };
    entries
        .filter(|entry| !entry.is_empty())
        .map(parse)
        .collect()
}
