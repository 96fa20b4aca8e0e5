//! The validated values of a form, before they are stored.

use std::collections::BTreeMap;

use sea_orm::Value;

/// The changes of one object, and the errors of its form.
#[derive(Debug, Default)]
pub struct Changes {
    /// The values of fields by name.
    pub values: BTreeMap<&'static str, Value>,
    /// The chosen keys of many-to-many fields by name.
    pub chosen: BTreeMap<&'static str, Vec<i32>>,
    /// The errors, by the name of the field.
    pub errors: BTreeMap<&'static str, Vec<String>>,
}

impl Changes {
    /// The value of a text field; empty if it is not in the form.
    pub fn text(&self, name: &str) -> &str {
        match self.values.get(name) {
            Some(Value::String(Some(text))) => text,
            _ => "",
        }
    }

    /// Whether a value is set to true.
    pub fn is_true(&self, name: &str) -> bool {
        self.values.get(name) == Some(&Value::Bool(Some(true)))
    }

    /// Adds an error to a field.
    pub fn add_error(&mut self, field: &'static str, error: impl Into<String>) {
        self.errors.entry(field).or_default().push(error.into());
    }
}
