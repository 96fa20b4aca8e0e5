//! What a check finds.

/// The severity of a finding, as the levels of Django's `CheckMessage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Level {
    /// Worth knowing.
    Warning,
    /// Has to be mended.
    Error,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its severity.
    pub level: Level,
    /// Django's id where Django has the check, else one of ours.
    pub id: &'static str,
    /// What is wrong.
    pub text: String,
    /// What to do.
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
