//! The template context of a field.

use sea_orm::DbErr;
use serde::Serialize;

use super::super::{BoundField, FormContext, ObjectForm};
use crate::{
    admin::{
        choices,
        field::{Kind, Raw},
        model::Model,
        options::{Cell, Description, Values, VirtualKind},
    },
    db::Connection,
    web::format::{date_time, grouped, iso},
};

/// The template context of a field.
#[derive(Debug, Serialize)]
pub struct FieldContext {
    name: String,
    id: String,
    label: String,
    help: &'static str,
    pub(super) is_required: bool,
    /// Whether the input has the attribute `autofocus`.
    pub(super) is_focused: bool,
    pub(super) errors: Vec<String>,
    /// The type of the input in the template's macro.
    pub(super) kind: &'static str,
    value: String,
    /// The value of the time input beside a date input.
    time: String,
    /// The types of the inputs for date and time: `text` for values that such an input cannot show.
    date_type: &'static str,
    time_type: &'static str,
    max_length: Option<u32>,
    options: Vec<OptionContext>,
    /// The values in place of an input, if it is read-only.
    cells: Vec<CellContext>,
    description: Description,
    /// The value of another user's concurrent change, if it differs.
    theirs: Option<String>,
    /// The URL of the changelist of related objects, if the user enters a key.
    lookup_url: Option<String>,
}

#[derive(Debug, Serialize)]
struct OptionContext {
    value: String,
    label: String,
    is_selected: bool,
}

/// The template context of a displayed value.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CellContext {
    /// `empty`, `yes`, `no`, `number`, `text`, `moment`.
    pub kind: &'static str,
    /// The text.
    pub text: String,
    /// A time in ISO 8601, UTC; empty for other values.
    pub iso: String,
}

/// The HTML id of a field's first input (Django's `id_for_label`).
pub fn id_of(form: &ObjectForm<'_>, bound: &BoundField<'_>) -> String {
    let suffix = if bound.field.kind == Kind::DateTime {
        "_0"
    } else {
        ""
    };
    format!("id_{}{}{suffix}", form.prefix, bound.field.name)
}

/// Builds the template context of a field of a form: an input, or a text if it is read-only.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn show_field(
    form: &ObjectForm<'_>,
    bound: &BoundField<'_>,
    db: Connection<'_>,
    form_context: FormContext<'_>,
    is_readonly: bool,
) -> Result<FieldContext, DbErr> {
    let field = bound.field;
    let is_form_readonly = is_readonly;
    let is_readonly = is_form_readonly || bound.is_readonly;
    let first = bound.raw.first().cloned().unwrap_or_default();
    let mut context = FieldContext {
        name: format!("{}{}", form.prefix, field.name),
        id: id_of(form, bound),
        label: field.label(),
        help: field.options.help_text,
        is_required: field.is_required() && !is_readonly,
        is_focused: false,
        errors: bound.errors.clone(),
        kind: "text",
        value: first.clone(),
        time: bound.raw.get(1).cloned().unwrap_or_default(),
        date_type: input_type("date", &first, |text| {
            text.parse::<chrono::NaiveDate>().is_ok() && text.len() == 10
        }),
        time_type: input_type(
            "time",
            bound.raw.get(1).map_or("", String::as_str),
            |text| text.parse::<chrono::NaiveTime>().is_ok() && text.len() == 8,
        ),
        max_length: None,
        options: Vec::new(),
        cells: Vec::new(),
        description: Description::default(),
        theirs: bound
            .theirs
            .as_ref()
            .filter(|theirs| **theirs != bound.raw)
            .map(|theirs| theirs.join(" ")),
        lookup_url: None,
    };
    let related_options = |all: Vec<(i32, String)>, raw: &Raw| {
        let option = |(id, label): (i32, String)| {
            let value = id.to_string();
            OptionContext {
                is_selected: raw.contains(&value),
                value,
                label,
            }
        };
        all.into_iter().map(option).collect::<Vec<_>>()
    };
    context.kind = match &field.kind {
        _ if !field.options.choices.is_empty() => {
            let option = |(value, label): &(&str, &str)| OptionContext {
                value: (*value).to_owned(),
                label: (*label).to_owned(),
                is_selected: first == *value,
            };
            context.options = field.options.choices.iter().map(option).collect();
            if matches!(field.kind, Kind::Virtual(_)) {
                "radio"
            } else {
                "select"
            }
        }
        Kind::Char(limit) => {
            context.max_length = Some(*limit);
            "text"
        }
        Kind::Text => "textarea",
        Kind::Integer | Kind::SmallInteger => "number",
        Kind::Boolean => {
            context.value = if bound.raw.is_empty() {
                String::new()
            } else {
                "on".to_owned()
            };
            "checkbox"
        }
        Kind::DateTime => "moment",
        Kind::ForeignKey(table) => match choices::of_table(table, db, form_context).await? {
            Some(all) => {
                context.options = related_options(all, &bound.raw);
                "select"
            }
            None => {
                context.lookup_url = form_context.site.of_table(table).map(Model::url);
                "number"
            }
        },
        Kind::ManyToMany => {
            context.options = related_options(
                choices::of_relation(form.model, field.name, db).await?,
                &bound.raw,
            );
            "multiple"
        }
        Kind::Virtual(VirtualKind::Password) => {
            context.value.clear();
            "password"
        }
        Kind::Virtual(VirtualKind::Radio) => "radio",
        Kind::Virtual(VirtualKind::Description) => {
            if let Some(object) = &form.object {
                let value = |column: &str| {
                    let position = form
                        .model
                        .concrete()
                        .position(|field| field.column == column)?;
                    object.values.get(position)
                };
                context.description = form
                    .model
                    .options
                    .rules
                    .describe(field.name, &Values(&value));
                if is_form_readonly {
                    context.description.link = "";
                }
            }
            "description"
        }
    };
    if is_readonly && context.kind != "description" {
        context.cells = match &form.object {
            _ if !context.options.is_empty() => {
                let chosen = context.options.iter().filter(|option| option.is_selected);
                chosen
                    .map(|option| CellContext {
                        kind: "text",
                        text: option.label.clone(),
                        iso: String::new(),
                    })
                    .collect()
            }
            Some(object) => {
                let cell = form
                    .model
                    .value(object, field.name)
                    .map(|value| show_cell(&field.cell(value), form_context));
                cell.into_iter().collect()
            }
            None => Vec::new(),
        };
        context.kind = "readonly";
    }
    Ok(context)
}

/// `kind`, or `text` if an input of that type cannot show the value.
fn input_type(kind: &'static str, text: &str, can_show: impl Fn(&str) -> bool) -> &'static str {
    if text.is_empty() || can_show(text) {
        kind
    } else {
        "text"
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
        Cell::DateTime(time) => ("moment", date_time(*time, form_context.zone), iso(*time)),
    };
    CellContext { kind, text, iso }
}
