//! The template context of displayed values.

use serde::Serialize;

use super::super::FormContext;
use crate::{
    admin::options::{Cell, Tone},
    web::format::{date_time, grouped, iso},
};

/// The template context of a displayed value.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CellContext {
    /// `empty`, `yes`, `no`, `number`, `text`, `date_time`, or of a state `badge-` and its tone.
    pub kind: &'static str,
    /// The text.
    pub text: String,
    /// A time in ISO 8601, UTC; empty for other values.
    pub iso: String,
}

impl CellContext {
    /// A text.
    pub fn text(text: String) -> Self {
        Self {
            kind: "text",
            text,
            iso: String::new(),
        }
    }
}

/// The template context of a cell.
pub fn show_cell(cell: &Cell, form_context: FormContext<'_>) -> CellContext {
    let (kind, text, iso) = match cell {
        Cell::Empty => ("empty", String::new(), String::new()),
        Cell::Boolean(true) => ("yes", "Yes".to_owned(), String::new()),
        Cell::Boolean(false) => ("no", "No".to_owned(), String::new()),
        Cell::Number(number) => ("number", grouped(*number), String::new()),
        Cell::Text(text) => ("text", text.clone(), String::new()),
        Cell::Badge(tone, text) => {
            let kind = match tone {
                Tone::Neutral => "badge-neutral",
                Tone::Info => "badge-info",
                Tone::Success => "badge-success",
                Tone::Warning => "badge-warning",
            };
            (kind, (*text).to_owned(), String::new())
        }
        Cell::DateTime(time) => ("date_time", date_time(*time, form_context.zone), iso(*time)),
    };
    CellContext { kind, text, iso }
}
