//! The models in migrations, and their `Meta` options.

use std::borrow::Cow;

use crate::{Field, Kind};

/// A model's `Meta` options.
#[derive(Debug)]
pub struct ModelOptions {
    /// The table's name; `None` means `app_model`.
    pub db_table: Option<&'static str>,
    /// The name of one object; `None` means the model's name in lower case, with spaces between its words.
    pub verbose_name: Option<&'static str>,
    /// Groups of fields that are unique together.
    pub unique_together: &'static [&'static [&'static str]],
}

impl ModelOptions {
    /// All options at their defaults.
    pub const DEFAULT: Self = Self {
        db_table: None,
        verbose_name: None,
        unique_together: &[],
    };
}

/// A model in a migration state (Django's `ModelState`).
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The label of its app.
    pub app: &'static str,
    /// Its name: `LogEntry`.
    pub name: Cow<'static, str>,
    /// The name of its table.
    pub table: String,
    /// The name of one object: `log entry`.
    pub verbose_name: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
    /// Groups of fields that are unique together.
    pub unique_together: Vec<Vec<Cow<'static, str>>>,
}

impl Model {
    /// A model as a migration declares it; `options` has its table and names where they differ from the defaults.
    pub(crate) fn new(
        app: &'static str,
        name: &'static str,
        fields: &[Field],
        options: &ModelOptions,
    ) -> Self {
        let table = options
            .db_table
            .map_or_else(|| format!("{app}_{}", name.to_lowercase()), str::to_owned);
        let verbose_name = options
            .verbose_name
            .map_or_else(|| camel_case_to_spaces(name), str::to_owned);
        let (name, unique_together) = (Cow::Borrowed(name), owned(options.unique_together));
        Self {
            app,
            name,
            table,
            verbose_name,
            fields: fields.to_vec(),
            unique_together,
        }
    }

    /// The name in lower case, as in content types and permissions.
    pub fn model_name(&self) -> String {
        self.name.to_lowercase()
    }

    /// The field with a name.
    ///
    /// # Panics
    /// When the model has no such field: an error in a migration, which the tests find.
    pub fn field(&self, name: &str) -> &Field {
        let found = self.fields.iter().find(|field| field.name == name);
        found.unwrap_or_else(|| panic!("{} has no field {name} at this point", self.name))
    }

    /// As [`Model::field`].
    pub(crate) fn field_mut(&mut self, name: &str) -> &mut Field {
        let found = self.fields.iter_mut().find(|field| field.name == name);
        found.unwrap_or_else(|| panic!("{} has no field {name} at this point", self.name))
    }

    /// The through models of its many-to-many fields: an id and foreign keys to both models, which are unique together.
    pub fn through_models(&self) -> impl Iterator<Item = Self> {
        self.fields
            .iter()
            .filter_map(|field| self.through_model(field))
    }

    /// The through model of a many-to-many field; `None` for other fields.
    pub(crate) fn through_model(&self, field: &Field) -> Option<Self> {
        let Kind::ManyToMany(target) = &field.kind else {
            return None;
        };
        let (_, target_name) = target
            .split_once('.')
            .expect("a relation names its model as app.Model");
        let source_key = Field {
            name: self.model_name().into(),
            ..Field::new(
                "",
                Kind::ForeignKey(format!("{}.{}", self.app, self.name).into()),
            )
        };
        let target_key = Field {
            name: target_name.to_lowercase().into(),
            ..Field::new("", Kind::ForeignKey(target.clone()))
        };
        Some(Self {
            app: self.app,
            name: field.name.clone(),
            table: format!("{}_{}", self.table, field.name),
            verbose_name: String::new(),
            unique_together: vec![vec![source_key.name.clone(), target_key.name.clone()]],
            fields: vec![Field::id(), source_key, target_key],
        })
    }

    /// Whether it is the model of this app with this name, which is case-insensitive.
    pub(crate) fn is(&self, app: &str, name: &str) -> bool {
        self.app == app && self.name.eq_ignore_ascii_case(name)
    }
}

/// Converts `unique_together` from static to owned.
pub(crate) fn owned(groups: &[&[&'static str]]) -> Vec<Vec<Cow<'static, str>>> {
    groups
        .iter()
        .map(|names| names.iter().map(|&name| Cow::Borrowed(name)).collect())
        .collect()
}

/// Converts `LogEntry` to `log entry` (Django's `camel_case_to_spaces`).
fn camel_case_to_spaces(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
