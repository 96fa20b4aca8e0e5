//! The fields of objects, and the objects that are related to them.

use rhai::Dynamic;

use super::{
    connection::{Result, failure},
    instance::Instance,
    queryset::QuerySet,
    values::to_dynamic,
};
use crate::{apps, fixtures::Value};

/// A field, a related object, or the related objects.
///
/// # Errors
/// When there is no such field, or the database cannot be reached.
pub fn get(object: &Instance, name: &str) -> Result<Dynamic> {
    if name == "pk" || name == object.model.key.name {
        return Ok(to_dynamic(&object.pk));
    }
    if let Some((_, value)) = object.fields.iter().find(|(field, _)| field == &name) {
        let field = object
            .model
            .field(name)
            .expect("the object has the model's fields");
        if let Some((_, related)) = object.related.iter().find(|(field, _)| field == &name) {
            return Ok(Dynamic::from(related.clone()));
        }
        return match (apps::related(field), value) {
            (Some(related), Value::Integer(key)) => {
                let objects = QuerySet::all(&object.connection, related);
                objects.with_key(*key)?.get().map(Dynamic::from)
            }
            _ => Ok(to_dynamic(value)),
        };
    }
    let of_key = name
        .strip_suffix("_id")
        .and_then(|name| object.fields.iter().find(|(field, _)| *field == name));
    if let Some((_, value)) = of_key {
        return Ok(to_dynamic(value));
    }
    if let Some(field) = object.model.many_to_many().find(|field| field.name == name) {
        return QuerySet::of_many_to_many(object, field).map(Dynamic::from);
    }
    if let Some((model, field)) = apps::reverse_many_to_many(object.model, name) {
        return QuerySet::of_reverse(object, model, field).map(Dynamic::from);
    }
    match apps::reverse_relation(object.model, name) {
        Some((model, field)) => QuerySet::of_foreign_key(object, model, field).map(Dynamic::from),
        None => Err(failure(format!(
            "{} has no field {name}",
            object.model.name
        ))),
    }
}

/// Sets a field. After a method of `q.choices` has been called, the engine assigns the query that it was called on, which changes
/// nothing.
///
/// # Errors
/// When there is no such field, or the value is invalid.
pub fn set(object: &mut Instance, name: &str, value: &Dynamic) -> Result<()> {
    if value.is::<QuerySet>() && object.model.columns().all(|field| field.name != name) {
        return Ok(());
    }
    object.set(name, value)
}

/// Reads the fields again.
///
/// # Errors
/// When it does not exist any more, or the database cannot be reached.
pub fn refresh(object: &mut Instance) -> Result<()> {
    let key = object.key().map(|key| to_dynamic(&key));
    let key = key.ok_or_else(|| failure(format!("{object} has not been saved yet")))?;
    *object = QuerySet::all(&object.connection, object.model)
        .with_key(key)?
        .get()?;
    Ok(())
}
