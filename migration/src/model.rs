//! A model as the migrations describe it.

use std::borrow::Cow;

use crate::{Field, Kind};

/// A model's `Meta` options.
#[derive(Debug)]
pub struct ModelOptions {
    /// The table's name; `None` means `app_model`.
    pub db_table: Option<&'static str>,
    /// What a person calls one; `None` means the model's name in small letters, a blank between its words.
    pub verbose_name: Option<&'static str>,
    /// Groups of fields that are unique together.
    pub unique_together: &'static [&'static [&'static str]],
}

impl ModelOptions {
    /// None set.
    pub const DEFAULT: Self = Self {
        db_table: None,
        verbose_name: None,
        unique_together: &[],
    };
}

/// A model as the migrations describe it.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Its app's label.
    pub app: &'static str,
    /// Its name: `LogEntry`.
    pub name: Cow<'static, str>,
    /// Its table.
    pub table: String,
    /// What a person calls one: `log entry`.
    pub verbose_name: String,
    /// Its fields, in order.
    pub fields: Vec<Field>,
    /// Groups of fields that are unique together.
    pub unique_together: Vec<Vec<Cow<'static, str>>>,
}

impl Model {
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
            .map_or_else(|| words(name), str::to_owned);
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

    /// The name in small letters, as content types and permissions have it.
    pub fn model_name(&self) -> String {
        self.name.to_lowercase()
    }

    /// The field of that name.
    ///
    /// # Panics
    /// When there is none: a mistake in a migration, which the tests find.
    pub fn field(&self, name: &str) -> &Field {
        let found = self.fields.iter().find(|field| field.name == name);
        found.unwrap_or_else(|| panic!("{} has no field {name} at this point", self.name))
    }

    pub(crate) fn field_mut(&mut self, name: &str) -> &mut Field {
        let found = self.fields.iter_mut().find(|field| field.name == name);
        found.unwrap_or_else(|| panic!("{} has no field {name} at this point", self.name))
    }

    /// The tables of its many-to-many fields, as models: an id and a foreign key to either side, unique together.
    pub fn through_models(&self) -> impl Iterator<Item = Self> {
        self.fields
            .iter()
            .filter_map(|field| self.through_model(field))
    }

    /// The table of a many-to-many field, as a model.
    pub(crate) fn through_model(&self, field: &Field) -> Option<Self> {
        let Kind::ManyToMany(target) = &field.kind else {
            return None;
        };
        let (_, far) = target
            .split_once('.')
            .expect("a relation names its model as app.Model");
        let near = Field {
            name: self.model_name().into(),
            ..Field::new(
                "",
                Kind::ForeignKey(format!("{}.{}", self.app, self.name).into()),
            )
        };
        let far = Field {
            name: far.to_lowercase().into(),
            ..Field::new("", Kind::ForeignKey(target.clone()))
        };
        Some(Self {
            app: self.app,
            name: field.name.clone(),
            table: format!("{}_{}", self.table, field.name),
            verbose_name: String::new(),
            unique_together: vec![vec![near.name.clone(), far.name.clone()]],
            fields: vec![Field::id(), near, far],
        })
    }

    /// Whether it is the model of that name, in any case.
    pub(crate) fn is(&self, app: &str, name: &str) -> bool {
        self.app == app && self.name.eq_ignore_ascii_case(name)
    }
}

/// Groups of names as a model keeps them.
pub(crate) fn owned(groups: &[&[&'static str]]) -> Vec<Vec<Cow<'static, str>>> {
    groups
        .iter()
        .map(|names| names.iter().map(|&name| Cow::Borrowed(name)).collect())
        .collect()
}

/// `LogEntry` as `log entry`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}
