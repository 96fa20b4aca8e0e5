//! The cleaned data of a form (Django's `cleaned_data`), before it is stored.

use std::collections::BTreeMap;

use sea_orm::Value;

/// The cleaned data of one object's form, and its errors.
#[derive(Debug, Default)]
pub struct Changes {
    /// The values, by field name.
    pub values: BTreeMap<&'static str, Value>,
    /// The selected keys of many-to-many fields, by field name.
    pub related_keys: BTreeMap<&'static str, Vec<i32>>,
    /// The error messages, by field name.
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

    /// Whether the value of a boolean field is true.
    pub fn is_true(&self, name: &str) -> bool {
        self.values.get(name) == Some(&Value::Bool(Some(true)))
    }

    /// Adds an error message to a field.
    pub fn add_error(&mut self, field: &'static str, error: impl Into<String>) {
        self.errors.entry(field).or_default().push(error.into());
    }
}
