//! The template context of a field.

use sea_orm::DbErr;
use serde::Serialize;

use super::{
    super::{BoundField, FormContext, ObjectForm},
    widget::Widget,
};
use crate::{admin::field::Kind, db::Connection};

/// The template context of a field: what is around its widget, and the widget.
#[derive(Debug, Serialize)]
pub struct FieldContext {
    name: String,
    id: String,
    label: String,
    help: &'static str,
    /// Whether the input has the attribute `required`.
    pub(super) is_required: bool,
    /// Whether the input has the attribute `autofocus`.
    pub(super) is_focused: bool,
    /// The error messages.
    pub(super) errors: Vec<String>,
    /// The value of another user's concurrent change, if it differs.
    theirs: Option<String>,
    #[serde(flatten)]
    pub(super) widget: Widget,
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

/// Builds the template context of a field of a form; without an input if the form or the field is read-only.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn show_field(
    form: &ObjectForm<'_>,
    bound: &BoundField<'_>,
    db: Connection<'_>,
    form_context: FormContext<'_>,
    is_form_readonly: bool,
) -> Result<FieldContext, DbErr> {
    let field = bound.field;
    let is_readonly = is_form_readonly || bound.is_readonly;
    let theirs = bound.theirs.as_ref().filter(|theirs| **theirs != bound.raw);
    let mut widget = Widget::new(form, bound, db, form_context).await?;
    if is_readonly {
        widget = widget.into_readonly(form, bound, form_context);
    }
    Ok(FieldContext {
        name: format!("{}{}", form.prefix, field.name),
        id: id_of(form, bound),
        label: field.label(),
        help: field.options.help_text,
        is_required: field.is_required() && !is_readonly,
        is_focused: false,
        errors: bound.errors.clone(),
        theirs: theirs.map(|theirs| theirs.join(" ")),
        widget,
    })
}
