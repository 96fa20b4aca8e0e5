//! The list of subcommands by app, and suggestions for mistyped ones.

use std::io::{self, Write};

use clap::error::{ContextKind, ContextValue};

/// The subcommands by app, as `manage.py` lists them.
pub const BY_APP: [(&str, &[&str]); 5] = [
    ("auth", &["changepassword", "createsuperuser"]),
    (
        "django",
        &[
            "check",
            "dbshell",
            "diffsettings",
            "dumpdata",
            "flush",
            "inspectdb",
            "loaddata",
            "makemigrations",
            "migrate",
            "shell",
            "showmigrations",
            "sqlflush",
            "sqlmigrate",
            "sqlsequencereset",
        ],
    ),
    (
        "polls",
        &[
            "completions",
            "export",
            "healthcheck",
            "inspect",
            "man",
            "recount",
            "seed",
        ],
    ),
    ("sessions", &["clearsessions"]),
    ("staticfiles", &["collectstatic", "runserver"]),
];

/// Prints the list.
///
/// # Errors
/// Those of the output.
pub fn print(out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "\nType 'polls help <subcommand>' for help on a specific subcommand.\n\nAvailable subcommands:"
    )?;
    for (app, commands) in BY_APP {
        writeln!(out, "\n[{app}]")?;
        for command in commands {
            writeln!(out, "    {command}")?;
        }
    }
    Ok(())
}

/// Replaces the suggestions for a mistyped subcommand by the nearest ones, the nearest first.
pub fn nearest_first(mut error: clap::Error) -> clap::Error {
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return error;
    };
    let suggested = nearest(typed);
    if suggested.is_empty() {
        error.remove(ContextKind::SuggestedSubcommand);
    } else {
        let suggested = suggested.into_iter().map(str::to_owned).collect();
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(suggested),
        );
    }
    error
}

/// The subcommands that a word may mean: those with few differing letters, and those that begin with it.
fn nearest(typed: &str) -> Vec<&'static str> {
    let commands = BY_APP.iter().flat_map(|(_, commands)| commands.iter());
    let mut found: Vec<(usize, &str)> = commands
        .map(|command| (strsim::damerau_levenshtein(typed, command), *command))
        .filter(|(distance, command)| *distance <= command.len() / 3 || command.starts_with(typed))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, command)| command).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_command_is_suggested_first() {
        let cases = [
            ("migrat", Some("migrate")),
            ("mirgate", Some("migrate")),
            ("loadata", Some("loaddata")),
            ("dumpdate", Some("dumpdata")),
            ("shel", Some("shell")),
            ("create", Some("createsuperuser")),
            ("makemigration", Some("makemigrations")),
            ("xyzzy", None),
        ];
        for (typed, expected) in cases {
            assert_eq!(nearest(typed).first().copied(), expected, "{typed}");
        }
    }
}
