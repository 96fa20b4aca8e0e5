//! The version of an object in a hidden field of its form: the contents of all fields when the form was rendered. A save
//! compares it with the database to detect concurrent changes. A form that Django rendered has no version, and is not compared.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::DbErr;
use serde::{Deserialize, Serialize};

use super::{BoundField, Editor, FormContext, ObjectForm, count_of, is_same};
use crate::{
    admin::{
        choices,
        field::{Kind, Raw},
        model::Model,
    },
    db::{Connection, is_storable},
    error::{AppError, Result},
    web::form::Form,
};

/// The name of the hidden field.
pub const FIELD: &str = "_version";

/// The contents of all fields of an object and its inline objects when a form was rendered.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FormVersion {
    /// When the form was rendered.
    pub at: DateTime<Utc>,
    /// The object's form data, by field name.
    object: BTreeMap<String, Raw>,
    /// The form data of inline objects, by the inline's prefix, the object's key and the field name.
    inlines: BTreeMap<String, BTreeMap<i32, BTreeMap<String, Raw>>>,
}

/// A change by another user since the form was rendered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The label of the field, or the name and label of the inline object.
    pub what: String,
    /// The value when the form was rendered.
    pub before: String,
    /// The current value.
    pub now: String,
    /// The many-to-many field whose keys `before` and `now` hold, until [`replace_keys_by_labels`] replaces them by labels.
    #[serde(skip)]
    relation: Option<&'static str>,
}

impl FieldChange {
    fn new(what: String, before: &str, now: &str) -> Self {
        Self {
            what,
            before: before.to_owned(),
            now: now.to_owned(),
            relation: None,
        }
    }

    /// The concurrent change of a compared field; `title` is that of its inline object, or empty.
    fn of_field(bound: &BoundField<'_>, title: &str) -> Self {
        let what = match title {
            "" => bound.field.label(),
            title => format!("{}: {}", title, bound.field.label()),
        };
        let text = |raw: &Raw| match bound.field.kind {
            Kind::Boolean if raw.is_empty() => "no".to_owned(),
            Kind::Boolean => "yes".to_owned(),
            _ => raw.join(" "),
        };
        let now = bound.theirs.as_ref().map(text).unwrap_or_default();
        let is_relation = bound.field.kind == Kind::ManyToMany;
        Self {
            relation: is_relation.then_some(bound.field.name),
            ..Self::new(what, &text(&bound.initial), &now)
        }
    }
}

/// Replaces the keys of many-to-many fields by labels.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn replace_keys_by_labels(
    changes: &mut [FieldChange],
    model: &Model,
    db: Connection<'_>,
) -> Result<(), DbErr> {
    for change in changes {
        let Some(relation) = change.relation.take() else {
            continue;
        };
        let all = choices::of_relation(model, relation, db).await?;
        let labels_of = |keys: &str| {
            let labels = all
                .iter()
                .filter(|(id, _)| keys.split(' ').any(|key| key == id.to_string()));
            let labels: Vec<&str> = labels.map(|(_, label)| label.as_str()).collect();
            labels.join(", ")
        };
        (change.before, change.now) = (labels_of(&change.before), labels_of(&change.now));
    }
    Ok(())
}

impl FormVersion {
    /// The version of a loaded form.
    pub fn new(editor: &Editor<'_>, now: DateTime<Utc>) -> Self {
        let inlines = editor.formsets.iter().map(|formset| {
            let present = formset.forms.iter().filter_map(|row| {
                row.form
                    .object
                    .as_ref()
                    .map(|object| (object.id, contents(&row.form)))
            });
            (formset.inline.prefix(), present.collect())
        });
        Self {
            at: now,
            object: contents(&editor.main),
            inlines: inlines.collect(),
        }
    }

    /// The version in a submitted form, if there is one.
    ///
    /// # Errors
    /// [`AppError::BadRequest`] when it cannot be parsed.
    pub fn read(form: &Form) -> Result<Option<Self>> {
        let Some(text) = form.get(FIELD) else {
            return Ok(None);
        };
        let version = serde_json::from_str::<Self>(text).ok();
        version
            .filter(|version| is_storable(version.at))
            .map(Some)
            .ok_or_else(|| AppError::BadRequest("the field _version of the form is invalid".into()))
    }

    /// The JSON of the hidden field.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("strings serialise to JSON")
    }

    /// Compares with a form that is loaded and not yet bound, and returns the changes since the version's form was rendered. The
    /// initial data of the form's fields becomes that of the version. Changes of counters are not returned.
    pub fn compare(
        &self,
        editor: &mut Editor<'_>,
        form_context: FormContext<'_>,
    ) -> Vec<FieldChange> {
        let mut changes = Vec::new();
        compare_object(
            &mut editor.main,
            &self.object,
            "",
            form_context,
            &mut changes,
        );
        for formset in &mut editor.formsets {
            let empty = BTreeMap::new();
            let known = self.inlines.get(&formset.inline.prefix()).unwrap_or(&empty);
            for row in &mut formset.forms {
                let Some(object) = &row.form.object else {
                    continue;
                };
                let title = inline_title(&formset.inline.model, &object.label);
                match known.get(&object.id) {
                    Some(before) => {
                        compare_object(&mut row.form, before, &title, form_context, &mut changes)
                    }
                    None => changes.push(FieldChange::new(title, "—", "added")),
                }
            }
            for (id, before) in known {
                if !formset.objects.iter().any(|object| object.id == *id) {
                    let first = before.values().flatten().find(|text| !text.is_empty());
                    let what =
                        inline_title(&formset.inline.model, first.map_or("", String::as_str));
                    changes.push(FieldChange::new(what, "present", "deleted"));
                }
            }
        }
        changes
    }

    /// The contents of an inline object in this version, if it existed.
    pub fn contents(&self, prefix: &str, id: i32) -> Option<&BTreeMap<String, Raw>> {
        self.inlines.get(prefix)?.get(&id)
    }
}

/// The counters of a compared and bound form that the form changes and that have become lower since: another user has taken
/// from them, and so the difference that this user meant cannot be known. A counter that has become higher is no conflict.
pub fn counter_conflicts(editor: &Editor<'_>, form_context: FormContext<'_>) -> Vec<FieldChange> {
    let of_object = |form: &ObjectForm<'_>, title: &str| -> Vec<FieldChange> {
        let is_lower = |bound: &&BoundField<'_>| {
            let current = bound.theirs.as_ref().and_then(count_of);
            current.is_some_and(|current| Some(current) < count_of(&bound.initial))
        };
        let counters = form.fields.iter().filter(|bound| {
            bound.field.options.counts.is_some() && bound.has_changed(form_context.zone)
        });
        counters
            .filter(is_lower)
            .map(|bound| FieldChange::of_field(bound, title))
            .collect()
    };
    let mut changes = of_object(&editor.main, "");
    for formset in &editor.formsets {
        for row in formset.forms.iter().filter(|row| !row.is_deleted) {
            if let Some(object) = &row.form.object {
                let title = inline_title(&formset.inline.model, &object.label);
                changes.extend(of_object(&row.form, &title));
            }
        }
    }
    changes
}

/// The title of an inline object in a list of changes.
fn inline_title(model: &Model, label: &str) -> String {
    format!("{} “{label}”", model.options.verbose_name)
}

fn contents(form: &ObjectForm<'_>) -> BTreeMap<String, Raw> {
    let editable = form.fields.iter().filter(|bound| !bound.is_readonly);
    editable
        .map(|bound| (bound.field.name.to_owned(), bound.initial.clone()))
        .collect()
}

fn compare_object(
    form: &mut ObjectForm<'_>,
    before: &BTreeMap<String, Raw>,
    title: &str,
    form_context: FormContext<'_>,
    changes: &mut Vec<FieldChange>,
) {
    for bound in &mut form.fields {
        let Some(known) = before.get(bound.field.name) else {
            continue;
        };
        if is_same(bound.field, known, &bound.initial, form_context.zone) {
            continue;
        }
        bound.theirs = Some(std::mem::replace(&mut bound.initial, known.clone()));
        if bound.field.options.counts.is_none() {
            changes.push(FieldChange::of_field(bound, title));
        }
    }
}
