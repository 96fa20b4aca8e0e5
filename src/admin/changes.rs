//! The values that a form is about to store.

use std::collections::BTreeMap;

use sea_orm::Value;

/// What is about to be stored of one object.
#[derive(Debug, Default)]
pub struct Changes {
    /// The values of fields by name.
    pub values: BTreeMap<&'static str, Value>,
    /// The chosen keys of many-to-many fields by name.
    pub chosen: BTreeMap<&'static str, Vec<i32>>,
    /// What is wrong, by the name of a field.
    pub errors: BTreeMap<&'static str, Vec<String>>,
}

impl Changes {
    /// A text among the values.
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

    /// Notes that something is wrong with a field.
    pub fn refuse(&mut self, field: &'static str, error: impl Into<String>) {
        self.errors.entry(field).or_default().push(error.into());
    }
}
