use std::{io::Write, process::ExitCode};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

use crate::{
    cli::context::{Context, SUCCESS},
    settings::{DeclaredVariable, Settings},
};

/// Django's `ERROR`.
const ERROR: Style = AnsiColor::Red.on_default().bold();

/// Print the settings that differ from their defaults. Secrets are masked.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print all settings; those at their defaults after `###`.
    #[arg(long)]
    all: bool,
    /// `hash`: settings that Django does not have are followed by `###`. `unified`: defaults after a minus sign, values after a
    /// plus sign.
    #[arg(long, value_enum, default_value_t = Format::Hash)]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Hash,
    Unified,
}

impl Args {
    /// Prints the settings in alphabetical order.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let mut variables = Settings::variables(&context.environment)?;
        variables.sort_by_key(|variable| variable.name);
        for DeclaredVariable {
            name,
            value,
            default,
            is_django,
        } in variables
        {
            let default = format!("{name} = {default:?}");
            let lines = match (value, self.output) {
                (Some(value), Format::Hash) => {
                    let mark = if is_django { "" } else { "  ###" };
                    vec![format!("{name} = {value:?}{mark}")]
                }
                (None, Format::Hash) if self.all => vec![format!("### {default}")],
                (Some(value), Format::Unified) => vec![
                    context.styled(format_args!("- {default}"), ERROR),
                    context.styled(format_args!("+ {name} = {value:?}"), SUCCESS),
                ],
                (None, Format::Unified) if self.all => vec![format!("  {default}")],
                (None, _) => Vec::new(),
            };
            for line in lines {
                writeln!(context.out, "{line}")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
