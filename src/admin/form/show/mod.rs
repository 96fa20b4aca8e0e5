//! A form as its template gets it.

mod field;
mod inline;

use sea_orm::DbErr;
use serde::Serialize;

pub use self::field::{ShownCell, show_cell};
use self::{
    field::{ShownField, id_of, show_field},
    inline::{ShownInline, show_inline},
};
use super::{Editor, FormContext, ObjectForm, fieldsets};
use crate::{admin::field::Kind, db::Connection};

/// A whole form.
#[derive(Debug, Serialize)]
pub struct ShownEditor {
    /// The object's fields in groups.
    pub fieldsets: Vec<ShownFieldset>,
    /// The forms of its inlines.
    pub inlines: Vec<ShownInline>,
    /// Everything that is wrong, with where it is.
    pub summary: Vec<ErrorLink>,
    /// Whether there are times to be typed.
    pub has_times: bool,
}

/// An error, and the field that it is about.
#[derive(Debug, Serialize)]
pub struct ErrorLink {
    /// The field's id, empty for the form as a whole.
    pub id: String,
    /// The field's label.
    pub label: String,
    /// What is wrong.
    pub text: String,
}

/// A group of fields.
#[derive(Debug, Serialize)]
pub struct ShownFieldset {
    name: Option<&'static str>,
    description: &'static str,
    /// Whether it can be closed, and whether it is.
    is_collapsible: bool,
    is_open: bool,
    fields: Vec<ShownField>,
}

impl ShownEditor {
    /// What a template gets of a form; without inputs if it is only to be looked at.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn new(
        editor: &Editor<'_>,
        db: Connection<'_>,
        form_context: FormContext<'_>,
        is_readonly: bool,
    ) -> Result<Self, DbErr> {
        let main = &editor.main;
        let mut shown = Vec::new();
        for (fieldset, fields) in fieldsets(main.model, main.object.is_none()) {
            let mut shown_fields = Vec::new();
            for bound in main
                .fields
                .iter()
                .filter(|bound| fields.iter().any(|field| field.name == bound.field.name))
            {
                shown_fields.push(show_field(main, bound, db, form_context, is_readonly).await?);
            }
            let has_errors = shown_fields.iter().any(|field| !field.errors.is_empty());
            let is_collapsible = fieldset
                .as_ref()
                .is_some_and(|fieldset| fieldset.is_collapsed);
            shown.push(ShownFieldset {
                name: fieldset.as_ref().and_then(|fieldset| fieldset.name),
                description: fieldset.map_or("", |fieldset| fieldset.description),
                is_collapsible,
                // What is wrong must be seen, and what must be filled in.
                is_open: !is_collapsible || has_errors || main.object.is_none(),
                fields: shown_fields,
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
        let mut summary: Vec<ErrorLink> = forms.flat_map(links).collect();
        let whole = editor.formsets.iter().flat_map(|formset| &formset.errors);
        summary.extend(whole.map(|text| ErrorLink {
            id: String::new(),
            label: String::new(),
            text: text.clone(),
        }));
        let first = shown
            .first_mut()
            .and_then(|fieldset| fieldset.fields.first_mut());
        if let Some(first) = first
            && main.object.is_none()
            && summary.is_empty()
        {
            first.is_focused = true;
        }
        let fields = shown.iter().flat_map(|fieldset| &fieldset.fields);
        let of_inlines = editor
            .formsets
            .iter()
            .flat_map(|set| set.inline.model.concrete());
        let has_times = fields.into_iter().any(|field| field.kind == "moment")
            || of_inlines
                .into_iter()
                .any(|field| field.kind == Kind::DateTime);
        Ok(Self {
            has_times,
            fieldsets: shown,
            inlines,
            summary,
        })
    }
}

fn links(form: &ObjectForm<'_>) -> impl Iterator<Item = ErrorLink> {
    let whole = form.errors.iter().map(|text| ErrorLink {
        id: String::new(),
        label: String::new(),
        text: text.clone(),
    });
    let of_fields = form.fields.iter().flat_map(move |bound| {
        bound.errors.iter().map(move |text| ErrorLink {
            id: id_of(form, bound),
            label: bound.field.label(),
            text: text.clone(),
        })
    });
    whole.chain(of_fields)
}
