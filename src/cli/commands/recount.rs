use std::{collections::BTreeSet, io::Write, process::ExitCode};

use chrono::Utc;

use crate::{
    cli::context::{Context, print_error},
    db::Purpose,
    polls_app::recount::recount,
    web::format::FormattedTime,
};

/// Compare the votes of questions with their voters, where votes are limited.
///
/// The exit status is 1 if they differ; those lines begin with `!`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these questions, by their keys.
    #[arg(value_name = "QUESTION")]
    questions: Vec<i32>,
}

impl Args {
    /// Prints a line per question.
    ///
    /// # Errors
    /// When the votes of a question are not limited, the database cannot be reached or written to, or standard output cannot be
    /// written.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let db = context.connect(Purpose::Command).await?;
        let (now, zone) = (Utc::now(), context.settings.time_zone);
        let found = if self.questions.is_empty() {
            recount(&db, None, now).await?
        } else {
            let mut found = Vec::new();
            for id in BTreeSet::from_iter(self.questions) {
                let one = recount(&db, Some(id), now).await?.pop();
                found.push(one.ok_or_else(|| {
                    anyhow::anyhow!("There is no question {id} whose votes are limited.")
                })?);
            }
            found
        };
        for recount in &found {
            let since = recount.agreed_at;
            let since = since.map(|time| FormattedTime::new(*time, now, zone).exact);
            let mark = if recount.agrees() { " " } else { "!" };
            let (id, label) = (recount.id, &recount.question_text);
            let text = recount.text(since.as_deref());
            writeln!(context.out, "{mark} {id} {label:?}: {text}")?;
        }
        if found.is_empty() && context.is_verbose() {
            print_error("There are no questions whose votes are limited.");
        }
        Ok(match found.iter().all(|recount| recount.agrees()) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
