//! The form of one object: converts form data to values of columns, or to errors.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use sea_orm::{ConnectionTrait, DbErr, Value, sea_query::ExprTrait};

use super::{bound::BoundField, context::FormContext};
use crate::{
    admin::{
        changes::Changes,
        choices,
        entity::KEY,
        field::{Field, Kind, NOT_AVAILABLE},
        model::{Model, Object},
        options::{Fieldset, VirtualKind},
    },
    contenttypes::capfirst,
    db::Connection,
    web::form::Form,
};

/// The form of one object.
#[derive(Debug)]
pub struct ObjectForm<'a> {
    /// The object's model.
    pub model: &'a Model,
    /// The prefix of its field names: empty, or `choice_set-0-`.
    pub prefix: String,
    /// The object; `None` for a new one.
    pub object: Option<Object>,
    /// The fields, in the order of the form.
    pub fields: Vec<BoundField<'a>>,
    /// The errors that belong to no field (Django's `non_field_errors`).
    pub errors: Vec<String>,
}

/// A model's fieldsets with their fields; if none are declared, one with all fields that have a column or are many-to-many.
pub fn fieldsets(model: &Model, is_new: bool) -> Vec<(Option<Fieldset>, Vec<&'_ Field>)> {
    let declared = match &model.options.add_fieldsets {
        Some(fieldsets) if is_new => fieldsets,
        _ => &model.options.fieldsets,
    };
    if declared.is_empty() {
        let all = model
            .fields
            .iter()
            .filter(|field| !matches!(field.kind, Kind::Virtual(_)));
        return vec![(None, all.collect())];
    }
    let fields = |fieldset: &Fieldset| {
        fieldset
            .fields
            .iter()
            .filter_map(|name| model.field(name))
            .collect()
    };
    declared
        .iter()
        .map(|fieldset| (Some(fieldset.clone()), fields(fieldset)))
        .collect()
}

impl<'a> ObjectForm<'a> {
    /// Loads the form of an object, or an empty form.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn load(
        model: &'a Model,
        object: Option<Object>,
        db: Connection<'_>,
        form_context: FormContext<'_>,
    ) -> Result<Self, DbErr> {
        let names = fieldsets(model, object.is_none())
            .into_iter()
            .flat_map(|(_, fields)| fields);
        let mut fields = Vec::new();
        for field in names {
            let raw = match &object {
                Some(object) if field.kind == Kind::ManyToMany => {
                    let keys = model.related_keys(db, field.name, object.id).await?;
                    keys.iter().map(i32::to_string).collect()
                }
                Some(object) => model.raw(object, field, form_context.zone),
                None => field.initial(form_context.now, form_context.zone),
            };
            fields.push(BoundField::new(
                field,
                raw,
                model.options.readonly_fields.contains(&field.name),
            ));
        }
        Ok(Self {
            model,
            prefix: String::new(),
            object,
            fields,
            errors: Vec::new(),
        })
    }

    /// Binds submitted data to the fields.
    pub fn bind(&mut self, form: &Form) {
        for bound in self.fields.iter_mut().filter(|bound| !bound.is_readonly) {
            // Django's forms do not have the fields of other tables.
            let is_unknown = bound.field.side_table.is_some()
                && bound.field.kind != Kind::Boolean
                && !bound.field.is_posted(form, &self.prefix);
            if !is_unknown {
                bound.raw = bound.field.posted(form, &self.prefix);
            }
        }
    }

    /// Whether the submitted data differs from the initial data.
    pub fn has_changed(&self, zone: Tz) -> bool {
        self.fields.iter().any(|bound| bound.has_changed(zone))
    }

    /// The labels of the fields whose submitted data differs from the initial data.
    pub fn changed_labels(&self, zone: Tz) -> Vec<String> {
        let changed = self.fields.iter().filter(|bound| bound.has_changed(zone));
        changed.map(|bound| bound.field.label()).collect()
    }

    /// Validates the data without the database: the converted values and the errors.
    pub fn clean(&mut self, zone: Tz) -> Changes {
        let mut changes = Changes::default();
        for bound in self.fields.iter_mut().filter(|bound| !bound.is_readonly) {
            let name = bound.field.name;
            if bound.field.kind == Kind::ManyToMany {
                let keys = bound
                    .raw
                    .iter()
                    .map(|text| text.parse::<i32>().map_err(|_| text));
                match keys.collect::<Result<Vec<i32>, _>>() {
                    Ok(keys) => drop(changes.related_keys.insert(name, keys)),
                    Err(text) => changes.add_error(name, format!("“{text}” is not a valid value.")),
                }
                continue;
            }
            if bound.field.kind == Kind::Virtual(VirtualKind::Description) {
                continue;
            }
            match bound.field.clean(&bound.raw, zone) {
                Ok(value) => drop(changes.values.insert(name, value)),
                // A stored value that a form would refuse: one of more than 32 bits, which SQLite may have.
                Err(_)
                    if bound.field.kind == Kind::Integer
                        && self.object.is_some()
                        && !bound.has_changed(zone) => {}
                Err(errors) => drop(changes.errors.insert(name, errors)),
            }
        }
        changes
    }

    /// Adds errors to their fields, and errors of fields that are not in the form to [`Self::errors`].
    pub fn add_errors(&mut self, errors: BTreeMap<&'static str, Vec<String>>) {
        for (name, errors) in errors {
            match self
                .fields
                .iter_mut()
                .find(|bound| bound.field.name == name)
            {
                Some(bound) => bound.errors.extend(errors),
                None => self.errors.extend(errors),
            }
        }
    }

    /// The number of error messages, those of its fields included.
    pub fn error_count(&self) -> usize {
        self.errors.len()
            + self
                .fields
                .iter()
                .map(|bound| bound.errors.len())
                .sum::<usize>()
    }

    /// Validates against the database: related objects must exist, and unique values must not be taken.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn check(&self, db: Connection<'_>, changes: &mut Changes) -> Result<(), DbErr> {
        let own_id = self.object.as_ref().map_or(0, |object| object.id);
        for bound in &self.fields {
            let (field, name) = (bound.field, bound.field.name);
            if let Some(keys) = changes.related_keys.get(name) {
                let choices_of_field = choices::of_relation(self.model, name, db).await?;
                let unknown = keys
                    .iter()
                    .find(|key| !choices_of_field.iter().any(|(known, _)| known == *key));
                if let Some(key) = unknown {
                    let text = format!(
                        "Select a valid choice. {key} is not one of the available choices."
                    );
                    changes.add_error(name, text);
                }
                continue;
            }
            match (&field.kind, changes.values.get(name)) {
                (Kind::ForeignKey(table), Some(Value::Int(Some(id)))) => {
                    let exists = choices::exists(table, *id, db).await?;
                    if !exists {
                        changes.add_error(name, NOT_AVAILABLE);
                    }
                }
                (_, Some(value)) if field.unique => {
                    let query = self
                        .model
                        .select()
                        .and_where(self.model.expression(field).eq(value.clone()))
                        .take();
                    let is_taken = db
                        .query_all(&query)
                        .await?
                        .iter()
                        .any(|row| row.try_get::<i32>("", KEY).is_ok_and(|id| id != own_id));
                    if is_taken {
                        let label = capfirst(self.model.options.verbose_name);
                        let text = format!("{label} with this {} already exists.", field.label());
                        changes.add_error(
                            name,
                            field.options.unique_message.map_or(text, str::to_owned),
                        );
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
