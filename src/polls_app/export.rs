//! Questions with their results as CSV and JSON.

use std::io::{self, Write};

use sea_orm::{ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde::Serialize;

use crate::{
    entities::{choice, question},
    web::format::iso,
};

/// Questions per query.
const PAGE_SIZE: u64 = 1000;

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values (RFC 4180): a line for each choice.
    Csv,
    /// A JSON array of questions.
    Json,
}

impl ExportFormat {
    /// The format with a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// The extension of files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
        }
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Json => "application/json",
        }
    }
}

/// A question with its results.
#[derive(Debug, Serialize)]
struct ExportedQuestion<'a> {
    id: i32,
    question: &'a str,
    published: String,
    votes: i64,
    choices: Vec<ExportedChoice<'a>>,
}

/// A choice with its votes.
#[derive(Debug, Serialize)]
struct ExportedChoice<'a> {
    id: i32,
    choice: &'a str,
    votes: i64,
}

/// Writes the questions with these keys, or all, in the order of their keys. Questions that do not exist are left out.
///
/// # Errors
/// When the database cannot be reached or a query fails, or the output cannot be written.
pub async fn write(
    db: &impl ConnectionTrait,
    ids: &[i32],
    format: ExportFormat,
    out: &mut (dyn Write + Send),
) -> Result<(), ExportError> {
    let mut writer = Writer::begin(format, out)?;
    let mut last = i32::MIN;
    loop {
        let mut query = question::Entity::find()
            .filter(question::COLUMN.id.gt(last))
            .order_by_asc(question::Column::Id)
            .limit(PAGE_SIZE);
        if !ids.is_empty() {
            query = query.filter(question::COLUMN.id.is_in(ids.iter().copied()));
        }
        let questions = query.all(db).await?;
        let Some((first, newest)) = questions.first().zip(questions.last()) else {
            break;
        };
        let choices = choice::Entity::find()
            .filter(choice::COLUMN.question_id.gte(first.id))
            .filter(choice::COLUMN.question_id.lte(newest.id))
            .order_by_asc(choice::Column::QuestionId)
            .order_by_asc(choice::Column::Id);
        let choices = choices.all(db).await?;
        for question in &questions {
            let first = choices.partition_point(|choice| choice.question_id < question.id);
            let own = choices[first..]
                .iter()
                .take_while(|choice| choice.question_id == question.id);
            writer.question(question, &own.collect::<Vec<_>>())?;
        }
        last = newest.id;
        if (questions.len() as u64) < PAGE_SIZE {
            break;
        }
    }
    writer.end().map_err(ExportError::Output)
}

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A query failed.
    #[error(transparent)]
    Database(#[from] DbErr),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Writes questions one by one.
enum Writer<'w> {
    Csv(Box<csv::Writer<&'w mut (dyn Write + Send)>>),
    /// Whether a question has been written.
    Json(&'w mut (dyn Write + Send), bool),
}

impl<'w> Writer<'w> {
    fn begin(format: ExportFormat, out: &'w mut (dyn Write + Send)) -> io::Result<Self> {
        Ok(match format {
            ExportFormat::Csv => {
                let mut builder = csv::WriterBuilder::new();
                let mut writer = builder.terminator(csv::Terminator::CRLF).from_writer(out);
                let columns = [
                    "question_id",
                    "question",
                    "published",
                    "choice_id",
                    "choice",
                    "votes",
                ];
                writer.write_record(columns)?;
                Self::Csv(Box::new(writer))
            }
            ExportFormat::Json => {
                out.write_all(b"[")?;
                Self::Json(out, false)
            }
        })
    }

    fn question(
        &mut self,
        question: &question::Model,
        choices: &[&choice::Model],
    ) -> io::Result<()> {
        let published = iso(*question.pub_date);
        match self {
            Self::Csv(writer) => {
                for choice in choices {
                    let record = [
                        question.id.to_string(),
                        cell(&question.question_text),
                        published.clone(),
                        choice.id.to_string(),
                        cell(&choice.choice_text),
                        choice.votes.to_string(),
                    ];
                    writer.write_record(record)?;
                }
                Ok(())
            }
            Self::Json(out, has_questions) => {
                let separator: &[u8] = if *has_questions { b",\n" } else { b"\n" };
                *has_questions = true;
                out.write_all(separator)?;
                let exported = ExportedQuestion {
                    id: question.id,
                    question: &question.question_text,
                    published,
                    votes: choices.iter().map(|choice| choice.votes.0).sum(),
                    choices: choices
                        .iter()
                        .map(|choice| ExportedChoice {
                            id: choice.id,
                            choice: &choice.choice_text,
                            votes: choice.votes.0,
                        })
                        .collect(),
                };
                serde_json::to_writer(&mut **out, &exported).map_err(io::Error::from)
            }
        }
    }

    fn end(self) -> io::Result<()> {
        match self {
            Self::Csv(mut writer) => writer.flush(),
            Self::Json(out, has_questions) => {
                out.write_all(if has_questions { b"\n]\n" } else { b"]\n" })
            }
        }
    }
}

/// A text as a cell that no spreadsheet takes for a formula
/// (<https://owasp.org/www-community/attacks/CSV_Injection>): one that begins like a formula gets an apostrophe before it.
fn cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn formulas_are_escaped() {
        for (text, expected) in [
            ("=1+1", "'=1+1"),
            ("-x", "'-x"),
            ("@a", "'@a"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}
