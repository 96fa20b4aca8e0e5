//! The template context of an inline.

use sea_orm::DbErr;
use serde::Serialize;

use super::{
    super::{FormContext, ObjectForm, formset::Formset},
    field::{FieldContext, show_field},
};
use crate::{
    admin::{field::Kind, options::Layout},
    contenttypes::capfirst,
    db::Connection,
};

/// The template context of an inline.
#[derive(Debug, Serialize)]
pub struct InlineContext {
    title: String,
    name: &'static str,
    prefix: String,
    is_tabular: bool,
    headings: Vec<Heading>,
    rows: Vec<RowContext>,
    /// The form that a script copies to add a row, with `__prefix__` in place of its index (Django's `empty_form`).
    empty: Option<RowContext>,
    total: usize,
    initial: usize,
    max: usize,
    may_delete: bool,
    is_readonly: bool,
    errors: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Heading {
    label: String,
    is_required: bool,
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct RowContext {
    prefix: String,
    id: Option<i32>,
    label: String,
    fields: Vec<FieldContext>,
    errors: Vec<String>,
    is_deleted: bool,
}

/// Builds the template context of an inline; without inputs if `is_readonly`.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn show_inline(
    formset: &Formset<'_>,
    db: Connection<'_>,
    form_context: FormContext<'_>,
    is_readonly: bool,
) -> Result<InlineContext, DbErr> {
    let model = &formset.inline.model;
    let mut rows = Vec::new();
    for row in &formset.forms {
        if is_readonly && row.form.object.is_none() {
            continue;
        }
        rows.push(show_row(&row.form, row.is_deleted, db, form_context, is_readonly).await?);
    }
    let mut empty_formset = Formset {
        inline: formset.inline,
        forms: Vec::new(),
        rights: formset.rights,
        errors: Vec::new(),
        objects: Vec::new(),
        parent_id: None,
    };
    empty_formset.push(None, form_context);
    let mut headings = Vec::new();
    for bound in &empty_formset.forms[0].form.fields {
        let kind = if matches!(bound.field.kind, Kind::Integer | Kind::SmallInteger) {
            "number"
        } else {
            "text"
        };
        headings.push(Heading {
            label: bound.field.label(),
            is_required: bound.field.is_required() && !is_readonly,
            kind,
        });
    }
    let empty = if is_readonly || !formset.rights.add {
        None
    } else {
        empty_formset.forms[0].form.prefix = format!("{}-__prefix__-", formset.inline.prefix());
        Some(show_row(&empty_formset.forms[0].form, false, db, form_context, false).await?)
    };
    Ok(InlineContext {
        title: capfirst(model.options.verbose_name_plural),
        name: model.options.verbose_name,
        prefix: formset.inline.prefix(),
        is_tabular: formset.inline.layout == Layout::Tabular,
        headings,
        total: rows.len(),
        initial: rows.iter().filter(|row| row.id.is_some()).count(),
        rows,
        empty,
        max: formset.inline.max,
        may_delete: formset.rights.delete && !is_readonly,
        is_readonly,
        errors: formset.errors.clone(),
    })
}

async fn show_row(
    form: &ObjectForm<'_>,
    is_deleted: bool,
    db: Connection<'_>,
    form_context: FormContext<'_>,
    is_readonly: bool,
) -> Result<RowContext, DbErr> {
    let mut fields = Vec::new();
    for bound in &form.fields {
        let mut field = show_field(form, bound, db, form_context, is_readonly).await?;
        // The row of a new object may be left empty.
        field.is_required &= form.object.is_some();
        fields.push(field);
    }
    Ok(RowContext {
        prefix: form.prefix.clone(),
        id: form.object.as_ref().map(|object| object.id),
        label: form
            .object
            .as_ref()
            .map(|object| object.label.clone())
            .unwrap_or_default(),
        fields,
        errors: form.errors.clone(),
        is_deleted,
    })
}
