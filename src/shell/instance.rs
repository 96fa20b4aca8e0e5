//! Objects of models in scripts.

use std::{fmt, rc::Rc};

use migration::Field;
use rhai::{Dynamic, Map};
use sea_orm::sea_query::{Alias, Expr, ExprTrait, Query};
use serde_json::Value as Json;
use unicode_normalization::UnicodeNormalization;

use super::{
    connection::{Connection, Result, error, failure},
    delete::{self, Deleted},
    moment::Moment,
    values::{field_json, json_time},
};
use crate::{
    apps::{self, Model},
    auth::{hashers, users::normalize_email},
    fixtures::{self, Object, Value},
};

/// An object, stored or not.
#[derive(Clone)]
pub struct Instance {
    pub(super) connection: Rc<Connection>,
    pub(super) model: &'static Model,
    pub(super) pk: Value,
    pub(super) fields: Vec<(&'static str, Value)>,
    /// The related objects that foreign keys have been set to, by their fields.
    pub(super) related: Vec<(&'static str, Instance)>,
}

impl fmt::Display for Instance {
    /// The text that the admin shows, for a model without one Django's `Question object (1)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = match self.model.name {
            "Question" => "question_text",
            "Choice" => "choice_text",
            "User" => "username",
            "Group" | "Permission" => "name",
            "ContentType" => "model",
            "LogEntry" => "object_repr",
            _ => "",
        };
        match self.fields.iter().find(|(name, _)| *name == label) {
            Some((_, Value::Text(text))) => f.write_str(text),
            _ => match &self.pk {
                Value::Text(key) => write!(f, "{key}"),
                Value::Integer(key) => write!(f, "{} object ({key})", self.model.name),
                _ => write!(f, "{} object (not saved)", self.model.name),
            },
        }
    }
}

impl Instance {
    /// A new object with these fields, and defaults for the others.
    ///
    /// # Errors
    /// When there is no such field, or a value is invalid.
    pub fn new(connection: &Rc<Connection>, model: &'static Model, given: Map) -> Result<Self> {
        let conversion = connection.conversion();
        let fields = model.columns().map(|field| {
            let default = conversion.default(field).ok().map(fixtures::from_column);
            (field.name.as_ref(), default.unwrap_or(Value::Null))
        });
        let mut instance = Self {
            connection: connection.clone(),
            model,
            pk: Value::Null,
            fields: fields.collect(),
            related: Vec::new(),
        };
        for (name, value) in given {
            instance.set(&name, &value)?;
        }
        Ok(instance)
    }

    /// A stored object.
    pub fn stored(connection: &Rc<Connection>, object: Object) -> Self {
        Self {
            connection: connection.clone(),
            model: object.model,
            pk: object.pk.unwrap_or(Value::Null),
            fields: object.fields,
            related: Vec::new(),
        }
    }

    /// Its key, if it is stored.
    pub fn key(&self) -> Option<Value> {
        (self.pk != Value::Null).then(|| self.pk.clone())
    }

    /// Its key as an integer.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn id(&self) -> Result<i32> {
        match self.pk {
            Value::Integer(key) => {
                i32::try_from(key).map_err(|_| failure("the key is out of range"))
            }
            _ => Err(failure(format!("{self} has not been saved yet"))),
        }
    }

    /// Sets a field.
    ///
    /// # Errors
    /// When there is no such field, or the value is invalid.
    pub fn set(&mut self, name: &str, value: &Dynamic) -> Result<()> {
        if name == "pk" || name == self.model.key.name {
            self.pk = if value.is_unit() {
                Value::Null
            } else {
                let key = convert(&self.connection, &self.model.key, value)?;
                fixtures::from_column(key)
            };
            return Ok(());
        }
        let is_field = |field: &str| field == name || name.strip_suffix("_id") == Some(field);
        let Some((field_name, current)) = self.fields.iter_mut().find(|(field, _)| is_field(field))
        else {
            return Err(failure(format!("{} has no field {name}", self.model.name)));
        };
        let field_name = *field_name;
        let field = self
            .model
            .field(field_name)
            .expect("the object has the model's fields");
        self.related.retain(|(known, _)| *known != field_name);
        if let Some(related) = value.clone().try_cast::<Self>() {
            check_model(field, &related)?;
            // One that has been deleted, or is not stored yet: the object cannot be saved with it, unless it may have none.
            if related.key().is_none() {
                *current = Value::Null;
                return Ok(());
            }
            self.related.push((field_name, related));
        }
        let value = fixtures::from_column(convert(&self.connection, field, value)?);
        if let (true, "password", Value::Text(text)) =
            (self.model.name == "User", field_name, &value)
            && !hashers::is_encoded(text)
        {
            return Err(failure(
                "the field `password` takes a hash, as of make_password(): set_password() or create_user() take a password",
            ));
        }
        *current = value;
        Ok(())
    }

    /// Stores it.
    ///
    /// # Errors
    /// When a value is missing or the database refuses it.
    pub fn save(&mut self) -> Result<()> {
        let conversion = self.connection.conversion();
        let is_new = self.pk == Value::Null;
        self.normalize(is_new);
        let columns = self.model.columns().map(|field| {
            let value = self.fields.iter().find(|(name, _)| *name == field.name);
            let value = value.map_or(Json::Null, |(_, value)| field_json(value));
            conversion
                .value(field, &value)
                .map_err(|error| failure(format!("{}: {error}", field.name)))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let pk = match self.key() {
            Some(key) => Some(
                conversion
                    .value(&self.model.key, &field_json(&key))
                    .map_err(failure)?,
            ),
            None if self.model.has_auto_key() => None,
            None => return Err(failure(format!("{} needs a key", self.model.name))),
        };
        let row = fixtures::Row::new(self.model, pk, columns);
        let inserted = self
            .connection
            .write(async |tx| fixtures::store(tx, &row).await.map_err(error))?;
        if let Some(key) = inserted {
            self.pk = Value::Integer(key.into());
        }
        Ok(())
    }

    /// Deletes it, with the objects that refer to it.
    ///
    /// # Errors
    /// When the database refuses it or cannot be reached.
    pub fn delete(&mut self) -> Result<Deleted> {
        let objects = Query::select()
            .from(Alias::new(&self.model.table))
            .and_where(Expr::col(Alias::new(self.model.key.column())).eq(self.key_value()?))
            .take();
        let deleted = delete::delete(&self.connection, self.model, objects)?;
        self.pk = Value::Null;
        Ok(deleted)
    }

    /// Its key as the value of a column.
    ///
    /// # Errors
    /// When it is not stored.
    fn key_value(&self) -> Result<sea_orm::Value> {
        let key = self
            .key()
            .ok_or_else(|| failure(format!("{self} has not been saved yet")))?;
        let conversion = self.connection.conversion();
        conversion
            .value(&self.model.key, &field_json(&key))
            .map_err(failure)
    }

    /// Sets the password of a user; it is stored by [`Self::save`].
    ///
    /// # Errors
    /// When it is no user, or the password could not be used at the login.
    pub fn set_password(&mut self, password: &str) -> Result<()> {
        self.require_user()?;
        let hash = self.connection.hash(password)?;
        self.set("password", &hash.into())
    }

    /// Whether a user has this password.
    ///
    /// # Errors
    /// When it is no user.
    pub fn check_password(&self, password: &str) -> Result<bool> {
        self.require_user()?;
        let stored = self.fields.iter().find(|(name, _)| *name == "password");
        let iterations = self.connection.settings.password_iterations;
        Ok(match stored {
            Some((_, Value::Text(hash))) => {
                hashers::check_password(password, hash, iterations) != hashers::PasswordCheck::Wrong
            }
            _ => false,
        })
    }

    fn require_user(&self) -> Result<()> {
        match self.model.name {
            "User" => Ok(()),
            name => Err(failure(format!("{name} has no password"))),
        }
    }

    /// What Django's `UserManager` does: names in NFKC, the domain of the address in lower case; a new user without a password gets an
    /// unusable one.
    fn normalize(&mut self, is_new: bool) {
        if self.model.name != "User" {
            return;
        }
        for (name, value) in &mut self.fields {
            if let Value::Text(text) = value {
                match *name {
                    "username" => *text = text.nfkc().collect(),
                    "email" => *text = normalize_email(text),
                    "password" if is_new && text.is_empty() => {
                        *text = hashers::unusable_password();
                    }
                    _ => {}
                }
            }
        }
    }
}

fn check_model(field: &Field, object: &Instance) -> Result<()> {
    match apps::related(field) {
        Some(related) if related.table != object.model.table => Err(failure(format!(
            "{}: it has to be a {}, not a {}",
            field.name, related.name, object.model.name
        ))),
        _ => Ok(()),
    }
}

/// A script's value as the value of a field's column.
///
/// # Errors
/// When it is invalid, or an object of another model.
pub fn convert(connection: &Connection, field: &Field, value: &Dynamic) -> Result<sea_orm::Value> {
    if let Some(object) = value.clone().try_cast::<Instance>() {
        check_model(field, &object)?;
    }
    let converted = connection.conversion().value(field, &to_json(value)?);
    converted.map_err(|error| failure(format!("{}: {error}", field.name)))
}

/// A script's value as fixtures have it; an object stands for its key.
///
/// # Errors
/// When it is of a type that no field has.
pub fn to_json(value: &Dynamic) -> Result<Json> {
    if value.is_unit() {
        return Ok(Json::Null);
    }
    if let Ok(value) = value.as_bool() {
        return Ok(value.into());
    }
    if let Ok(value) = value.as_int() {
        return Ok(value.into());
    }
    if let Ok(value) = value.as_float() {
        return Ok(value.into());
    }
    if value.is_string() || value.is_char() {
        return Ok(value.to_string().into());
    }
    if let Some(time) = value.clone().try_cast::<Moment>() {
        return Ok(json_time(&time).into());
    }
    if let Some(instance) = value.clone().try_cast::<Instance>() {
        let key = instance.key().map(|key| field_json(&key));
        return key.ok_or_else(|| failure(format!("{instance} has not been saved yet")));
    }
    if let Some(values) = value.clone().try_cast::<rhai::Array>() {
        let values = values.iter().map(to_json).collect::<Result<Vec<_>>>();
        return values.map(Json::Array);
    }
    let name = value.type_name().rsplit("::").next().unwrap_or_default();
    Err(failure(match name {
        "ColumnValue" => {
            "F(…) is for update(): Choice.filter(pk=1).update(votes=F(\"votes\") + 1)".to_owned()
        }
        name => format!("a field cannot have a value of the type {name}"),
    }))
}
