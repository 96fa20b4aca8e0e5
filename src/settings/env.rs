//! Reading the environment. An empty variable counts as unset, which is how orchestrators express "no value".

use std::{
    collections::HashMap,
    fmt::Display,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{PoisonError, RwLock},
};

use anyhow::{Context, anyhow, bail};
use secrecy::SecretString;

/// The variables of the file, which the environment wins over.
static FILE: RwLock<Option<File>> = RwLock::new(None);

struct File {
    path: PathBuf,
    variables: HashMap<String, String>,
}

/// Takes what a file says, instead of what one said before.
pub(super) fn set_file(path: &Path, variables: HashMap<String, String>) {
    let path = path.to_owned();
    *FILE.write().unwrap_or_else(PoisonError::into_inner) = Some(File { path, variables });
}

/// The file that is read besides the environment, if any.
pub(super) fn file() -> Option<PathBuf> {
    let file = FILE.read().unwrap_or_else(PoisonError::into_inner);
    file.as_ref().map(|file| file.path.clone())
}

/// The value of a variable.
///
/// # Errors
/// When it is not UTF-8.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn var(name: &str) -> anyhow::Result<Option<String>> {
    let value = match std::env::var(name) {
        Ok(value) => Some(value),
        Err(std::env::VarError::NotPresent) => {
            let file = FILE.read().unwrap_or_else(PoisonError::into_inner);
            file.as_ref()
                .and_then(|file| file.variables.get(name).cloned())
        }
        Err(std::env::VarError::NotUnicode(_)) => bail!("{name} is not valid UTF-8."),
    };
    Ok(value.filter(|value| !value.is_empty()))
}

/// A variable as a value of some type; `expected` says in the error what it should have been.
///
/// # Errors
/// When it does not parse.
pub fn parsed<T: FromStr>(name: &str, expected: &str) -> anyhow::Result<Option<T>> {
    let Some(value) = var(name)? else {
        return Ok(None);
    };
    value
        .trim()
        .parse()
        .map(Some)
        .map_err(|_| anyhow!("{name} must be {expected}, not {value:?}."))
}

/// A variable as yes or no, if it is set.
///
/// # Errors
/// When it is neither.
pub fn optional_flag(name: &str) -> anyhow::Result<Option<bool>> {
    let Some(value) = var(name)? else {
        return Ok(None);
    };
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(Some(true)),
        "0" | "false" | "no" | "off" => Ok(Some(false)),
        other => bail!("{name} must be true or false, not {other:?}."),
    }
}

/// A variable as yes or no; unset is no.
///
/// # Errors
/// When it is neither.
pub fn flag(name: &str) -> anyhow::Result<bool> {
    Ok(optional_flag(name)?.unwrap_or_default())
}

/// A variable as a list, separated by commas.
///
/// # Errors
/// When an entry does not parse.
pub fn list<T: FromStr<Err: Display>>(name: &str) -> anyhow::Result<Option<Vec<T>>> {
    let Some(value) = var(name)? else {
        return Ok(None);
    };
    let entries = value
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let parse = |entry: &str| {
        entry
            .parse()
            .map_err(|error| anyhow!("{name} has the entry {entry:?}: {error}."))
    };
    entries.map(parse).collect::<anyhow::Result<_>>().map(Some)
}

/// A secret from the variable `name`, or from the file that `name_FILE` names, less its last line end.
///
/// # Errors
/// When both are set, or the file cannot be read.
pub fn secret(name: &str) -> anyhow::Result<Option<SecretString>> {
    let file_variable = format!("{name}_FILE");
    match (var(name)?, var(&file_variable)?) {
        (Some(_), Some(_)) => bail!("{name} and {file_variable} are both set: use one of them."),
        (Some(value), None) => Ok(Some(value.into())),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(Path::new(&path))
                .with_context(|| format!("{file_variable} names {path}, which cannot be read"))?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).into()))
        }
        (None, None) => Ok(None),
    }
}
