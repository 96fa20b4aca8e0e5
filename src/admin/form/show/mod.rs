//! The template context of a form.

mod cell;
mod field;
mod inline;
mod widget;

use sea_orm::DbErr;
use serde::Serialize;

pub use self::cell::{CellContext, show_cell};
use self::{
    field::{FieldContext, id_of, show_field},
    inline::{InlineContext, show_inline},
    widget::Widget,
};
use super::{Editor, FormContext, ObjectForm, fieldsets};
use crate::{admin::field::Kind, db::Connection};

/// The template context of an object's form.
#[derive(Debug, Serialize)]
pub struct EditorContext {
    /// The fields in groups.
    pub fieldsets: Vec<FieldsetContext>,
    /// The inlines, in order.
    pub inlines: Vec<InlineContext>,
    /// All errors, with links to their fields.
    pub summary: Vec<ErrorLink>,
    /// Whether the form has a time input, for which the page names the time zone.
    pub has_times: bool,
}

/// An error with a link to its field.
#[derive(Debug, Serialize)]
pub struct ErrorLink {
    /// The id of the field's input; empty for an error that belongs to no field.
    pub id: String,
    /// The field's label; empty if `id` is.
    pub label: String,
    /// The message.
    pub text: String,
}

/// A group of fields.
#[derive(Debug, Serialize)]
pub struct FieldsetContext {
    name: Option<&'static str>,
    description: &'static str,
    is_collapsible: bool,
    is_open: bool,
    fields: Vec<FieldContext>,
}

impl EditorContext {
    /// The template context of a form; without inputs if `is_readonly`.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn new(
        editor: &Editor<'_>,
        db: Connection<'_>,
        form_context: FormContext<'_>,
        is_readonly: bool,
    ) -> Result<Self, DbErr> {
        let main = &editor.main;
        let mut fieldset_contexts = Vec::new();
        for (fieldset, fields) in fieldsets(main.model, main.object.is_none()) {
            let mut field_contexts = Vec::new();
            for bound in main
                .fields
                .iter()
                .filter(|bound| fields.iter().any(|field| field.name == bound.field.name))
            {
                field_contexts.push(show_field(main, bound, db, form_context, is_readonly).await?);
            }
            let has_errors = field_contexts.iter().any(|field| !field.errors.is_empty());
            let is_collapsible = fieldset
                .as_ref()
                .is_some_and(|fieldset| fieldset.is_collapsed);
            fieldset_contexts.push(FieldsetContext {
                name: fieldset.as_ref().and_then(|fieldset| fieldset.name),
                description: fieldset.map_or("", |fieldset| fieldset.description),
                is_collapsible,
                // Open if it has errors, or if the object is new.
                is_open: !is_collapsible || has_errors || main.object.is_none(),
                fields: field_contexts,
            });
        }
        let mut inlines = Vec::new();
        for formset in &editor.formsets {
            inlines.push(show_inline(formset, db, form_context, is_readonly).await?);
        }
        let forms = std::iter::once(main).chain(
            editor
                .formsets
                .iter()
                .flat_map(|set| set.forms.iter().map(|row| &row.form)),
        );
        let mut summary: Vec<ErrorLink> = forms.flat_map(error_links).collect();
        let formset_errors = editor.formsets.iter().flat_map(|formset| &formset.errors);
        summary.extend(formset_errors.map(|text| ErrorLink {
            id: String::new(),
            label: String::new(),
            text: text.clone(),
        }));
        let first = fieldset_contexts
            .first_mut()
            .and_then(|fieldset| fieldset.fields.first_mut());
        if let Some(first) = first
            && main.object.is_none()
            && summary.is_empty()
        {
            first.is_focused = true;
        }
        let fields = fieldset_contexts
            .iter()
            .flat_map(|fieldset| &fieldset.fields);
        let inline_fields = editor
            .formsets
            .iter()
            .flat_map(|set| set.inline.model.concrete());
        let has_times = fields
            .into_iter()
            .any(|field| matches!(field.widget, Widget::DateTime { .. }))
            || inline_fields
                .into_iter()
                .any(|field| field.kind == Kind::DateTime);
        Ok(Self {
            has_times,
            fieldsets: fieldset_contexts,
            inlines,
            summary,
        })
    }
}

fn error_links(form: &ObjectForm<'_>) -> impl Iterator<Item = ErrorLink> {
    let non_field_errors = form.errors.iter().map(|text| ErrorLink {
        id: String::new(),
        label: String::new(),
        text: text.clone(),
    });
    let field_errors = form.fields.iter().flat_map(move |bound| {
        bound.errors.iter().map(move |text| ErrorLink {
            id: id_of(form, bound),
            label: bound.field.label(),
            text: text.clone(),
        })
    });
    non_field_errors.chain(field_errors)
}
