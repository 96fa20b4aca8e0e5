use std::process::ExitCode;

use clap::ValueEnum;

use crate::{
    checks::{self, Level, Tag},
    cli::context::Context,
};

/// Check the settings, the templates, the database and its migrations.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run only the checks with this tag; may be given several times.
    #[arg(short, long = "tag", value_name = "TAG")]
    tags: Vec<Tag>,
    /// List the tags, and run no checks.
    #[arg(long)]
    list_tags: bool,
    /// Also check the security settings for production.
    #[arg(long)]
    deploy: bool,
    /// From which level on a finding makes the command fail.
    #[arg(
        long,
        default_value = "error",
        value_name = "LEVEL",
        ignore_case = true
    )]
    fail_level: Level,
}

impl Args {
    /// Prints the messages of the checks. Exits with 1 if there is one of the level of `--fail-level` or above.
    ///
    /// # Errors
    /// When standard output cannot be written to.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        if self.list_tags {
            for tag in Tag::value_variants()
                .iter()
                .filter_map(ValueEnum::to_possible_value)
            {
                writeln!(context.out, "{}", tag.get_name())?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let mut tags = if self.tags.is_empty() {
            Tag::value_variants().to_vec()
        } else {
            self.tags
        };
        tags.retain(|tag| self.deploy || *tag != Tag::Security);
        let messages = checks::run(&context.settings, &tags).await;
        let passed = checks::report(
            &messages,
            self.fail_level,
            context.is_verbose(),
            &mut context.out,
        )?;
        Ok(if passed {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
