//! The messages of the system checks.

/// The severity of a message, as the levels of Django's `CheckMessage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// A possible problem.
    Warning,
    /// A problem that must be fixed.
    Error,
}

/// A message of a check, as Django's `CheckMessage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its severity.
    pub level: Level,
    /// Django's id where Django has the check (`security.W004`), else `polls.` with a level and a number.
    pub id: &'static str,
    /// The problem.
    pub text: String,
    /// How to fix it.
    pub hint: Option<&'static str>,
}

impl Message {
    /// An error.
    pub fn error(id: &'static str, text: String, hint: Option<&'static str>) -> Self {
        Self {
            level: Level::Error,
            id,
            text,
            hint,
        }
    }

    /// A warning.
    pub fn warning(id: &'static str, text: String, hint: Option<&'static str>) -> Self {
        Self {
            level: Level::Warning,
            id,
            text,
            hint,
        }
    }
}
