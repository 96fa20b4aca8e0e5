//! What an app declares about a model: Django's `ModelAdmin`, as data.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sea_orm::{DbErr, EntityTrait, QueryResult, Value, sea_query::SelectStatement};

use super::model::Changes;
use crate::{
    auth::{Auth, login::User},
    db::{Connection, Transaction},
    error::Result,
};

/// How a model is shown and edited. Names are those of fields: a column's, and a foreign key's without `_id`.
pub struct ModelAdmin<E: EntityTrait> {
    /// The app's label, as in permissions and addresses.
    pub app_label: &'static str,
    /// The model's name in small letters.
    pub name: &'static str,
    /// What a person calls one.
    pub verbose_name: &'static str,
    /// What a person calls several.
    pub verbose_name_plural: &'static str,
    /// The text that stands for an object: Django's `__str__`.
    pub label: fn(&E::Model) -> String,
    /// What is to be said of fields beyond what the entity says.
    pub fields: Vec<FieldOptions>,
    /// Columns of the changelist that are computed.
    pub computed: Vec<Computed<E::Model>>,
    /// Many-to-many fields.
    pub many_to_many: Vec<ManyToMany>,
    /// Other tables whose rows go with an object.
    pub dependents: Vec<Dependent>,
    /// The columns of the changelist: fields, computed ones, `key__field` of a related model, `__str__`.
    pub list_display: &'static [&'static str],
    /// Fields that can be edited in the changelist.
    pub list_editable: &'static [&'static str],
    /// The filters of the changelist.
    pub list_filter: &'static [&'static str],
    /// Where a search looks; `choice__choice_text` is the field of an inline or of the model that a key refers to.
    pub search_fields: &'static [&'static str],
    /// A date field to go through by year, month and day.
    pub date_hierarchy: Option<&'static str>,
    /// The order of the changelist, `-` for descending; by key, newest first, without one.
    pub ordering: &'static [&'static str],
    /// Rows on a page.
    pub list_per_page: u64,
    /// The most rows that "Show all" shows.
    pub list_max_show_all: u64,
    /// The form in groups.
    pub fieldsets: Vec<Fieldset>,
    /// The form for a new object, where it is another one.
    pub add_fieldsets: Option<Vec<Fieldset>>,
    /// Shown, but not to be changed.
    pub readonly_fields: &'static [&'static str],
    /// Forms for the objects that belong to this one.
    pub inlines: Vec<Inline>,
    /// Whether "Save as new" is offered.
    pub save_as: bool,
    /// Where visitors see an object.
    pub view_on_site: Option<fn(i32) -> String>,
    /// What holds beyond the above.
    pub rules: Box<dyn Rules>,
}

impl<E: EntityTrait> ModelAdmin<E> {
    /// The usual: every field in the form, the label in the changelist.
    pub fn new(
        app_label: &'static str,
        (name, verbose_name_plural): (&'static str, &'static str),
        label: fn(&E::Model) -> String,
    ) -> Self {
        Self {
            app_label,
            name,
            verbose_name: name,
            verbose_name_plural,
            label,
            fields: Vec::new(),
            computed: Vec::new(),
            many_to_many: Vec::new(),
            dependents: Vec::new(),
            list_display: &["__str__"],
            list_editable: &[],
            list_filter: &[],
            search_fields: &[],
            date_hierarchy: None,
            ordering: &[],
            list_per_page: 100,
            list_max_show_all: 200,
            fieldsets: Vec::new(),
            add_fieldsets: None,
            readonly_fields: &[],
            inlines: Vec::new(),
            save_as: false,
            view_on_site: None,
            rules: Box::new(()),
        }
    }
}

/// What is to be said of a field.
#[derive(Debug, Clone)]
pub struct FieldOptions {
    /// Its name.
    pub name: &'static str,
    /// What a person calls it; the name with blanks without one.
    pub verbose_name: Option<&'static str>,
    /// An explanation below the input.
    pub help_text: &'static str,
    /// Whether it may be left empty.
    pub blank: bool,
    /// The values it can have, with what a person calls them.
    pub choices: &'static [(&'static str, &'static str)],
    /// What it holds in a new object.
    pub default: Option<fn(DateTime<Utc>) -> Value>,
    /// What is wrong with a text that was typed.
    pub validate: Option<fn(&str) -> Vec<String>>,
    /// The form in which a text is stored.
    pub normalize: Option<fn(&str) -> String>,
    /// What to say of a value that another object has.
    pub unique_message: Option<&'static str>,
    /// What it counts (singular, plural), if visitors increment it: that is no conflict between editors, and nothing is lost.
    pub counts: Option<(&'static str, &'static str)>,
    /// Whether nobody may ask lists for it: counting what is found would spell it out.
    pub is_secret: bool,
    /// Whether it exists in the form only, and is typed unseen or chosen.
    pub virtual_kind: Option<VirtualKind>,
}

/// A field of a form that no column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtualKind {
    /// A password, never shown again.
    Password,
    /// One of its choices.
    Radio,
    /// A text that [`Rules::describe`] gives.
    Description,
}

impl FieldOptions {
    /// Nothing but the name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            verbose_name: None,
            help_text: "",
            blank: false,
            choices: &[],
            default: None,
            validate: None,
            normalize: None,
            unique_message: None,
            counts: None,
            is_secret: false,
            virtual_kind: None,
        }
    }
}

/// A column of the changelist that is no field.
pub struct Computed<M> {
    /// Its name in `list_display`.
    pub name: &'static str,
    /// Its heading.
    pub heading: &'static str,
    /// The field that orders it, if one does.
    pub ordered_by: Option<&'static str>,
    /// Where it comes from.
    pub source: Source<M>,
}

/// Where a computed column comes from.
pub enum Source<M> {
    /// From the object, at the present time.
    Row(fn(&M, DateTime<Utc>) -> Cell),
    /// A number from the database, by a query that may name the model's table.
    Sql(fn() -> SelectStatement),
}

/// What is shown in a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing: a dash.
    Empty,
    /// Yes or no, as an icon.
    Boolean(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
    /// A moment.
    Moment(DateTime<Utc>),
}

/// A field with any number of objects of another table.
pub struct ManyToMany {
    /// Its name.
    pub name: &'static str,
    /// What a person calls it.
    pub verbose_name: &'static str,
    /// An explanation below the input.
    pub help_text: &'static str,
    /// The table between, with the columns of the near key and the far one.
    pub through: (&'static str, &'static str, &'static str),
    /// What a person calls one of the rows between, and several.
    pub relationship: (&'static str, &'static str),
    /// All that can be chosen, in order.
    pub choices: Choices,
}

/// A list to choose from.
#[derive(Clone, Copy)]
pub struct Choices {
    /// Which rows; one column must be `id`.
    pub query: fn() -> SelectStatement,
    /// What to show of a row.
    pub label: fn(&QueryResult) -> Result<String, DbErr>,
}

/// Rows of another table that go when an object goes.
#[derive(Debug, Clone, Copy)]
pub struct Dependent {
    /// The table, and its column with the object's key.
    pub table: (&'static str, &'static str),
    /// What a person calls one.
    pub verbose_name: &'static str,
    /// What a person calls several.
    pub verbose_name_plural: &'static str,
    /// The column that names a row for a person; without one they are only counted.
    pub label_column: Option<&'static str>,
    /// The column of its counter and what it counts (singular, plural).
    pub counter: Option<(&'static str, (&'static str, &'static str))>,
}

/// A group of fields in a form.
#[derive(Debug, Clone)]
pub struct Fieldset {
    /// Its heading.
    pub name: Option<&'static str>,
    /// Its fields, in order.
    pub fields: &'static [&'static str],
    /// An explanation below the heading.
    pub description: &'static str,
    /// Whether it is closed at first.
    pub is_collapsed: bool,
}

impl Fieldset {
    /// An open one.
    pub const fn new(name: Option<&'static str>, fields: &'static [&'static str]) -> Self {
        Self {
            name,
            fields,
            description: "",
            is_collapsed: false,
        }
    }

    /// One that is closed at first.
    pub const fn collapsed(name: &'static str, fields: &'static [&'static str]) -> Self {
        Self {
            name: Some(name),
            fields,
            description: "",
            is_collapsed: true,
        }
    }
}

/// How the forms of an inline stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As the rows of a table.
    Tabular,
    /// One below the other.
    Stacked,
}

/// Forms for the objects that belong to another.
pub struct Inline {
    pub(super) layout: Layout,
    /// The field of the inline's model that refers to the object.
    pub(super) key: &'static str,
    pub(super) extra: usize,
    pub(super) max: usize,
    pub(super) build: Box<dyn FnOnce() -> super::model::Model + Send>,
}

impl Inline {
    /// As a table; `key` is the field that refers to the object.
    pub fn tabular<E: EntityTrait>(admin: ModelAdmin<E>, key: &'static str) -> Self
    where
        E::Model: Sync,
    {
        Self::new(Layout::Tabular, admin, key)
    }

    /// One below the other.
    pub fn stacked<E: EntityTrait>(admin: ModelAdmin<E>, key: &'static str) -> Self
    where
        E::Model: Sync,
    {
        Self::new(Layout::Stacked, admin, key)
    }

    /// So many empty forms to begin with; Django has three.
    pub fn extra(self, extra: usize) -> Self {
        Self { extra, ..self }
    }

    fn new<E: EntityTrait>(layout: Layout, admin: ModelAdmin<E>, key: &'static str) -> Self
    where
        E::Model: Sync,
    {
        let build = Box::new(move || super::model::Model::new(admin));
        Self {
            layout,
            key,
            extra: 3,
            max: 1000,
            build,
        }
    }
}

/// What holds for a model beyond its fields: an app implements what it needs.
#[async_trait]
pub trait Rules: Send + Sync {
    /// Whether `user` may add one, who has the permission for it.
    fn may_add(&self, _: &User) -> bool {
        true
    }

    /// Those of the objects `ids` that `user`, who has the permission for their model, may neither change nor delete.
    async fn not_changeable(
        &self,
        _: Connection<'_>,
        _: &User,
        _ids: &[i32],
    ) -> Result<BTreeSet<i32>, DbErr> {
        Ok(BTreeSet::new())
    }

    /// Looks at what is about to be stored, and may add errors to fields; the object's id if it is not new.
    async fn validate(
        &self,
        _: &Transaction,
        _: &User,
        _id: Option<i32>,
        _: &mut Changes,
    ) -> Result<(), DbErr> {
        Ok(())
    }

    /// Turns the virtual fields of a new object into columns, before the transaction begins. Errors are known already.
    async fn prepare(&self, _: &Auth, _: &mut Changes) -> Result<()> {
        Ok(())
    }

    /// The text of a field of the kind [`VirtualKind::Description`], with a link and what it says, if it has one.
    fn describe(&self, _field: &str, _values: &Values<'_>) -> Description {
        Description::default()
    }

    /// Whether a new object is opened at once for what its first form did not ask.
    fn continues_after_add(&self) -> bool {
        false
    }
}

/// The columns of an object by name.
pub struct Values<'a>(pub(super) &'a dyn Fn(&str) -> Option<&'a Value>);

impl Values<'_> {
    /// A text column.
    pub fn text(&self, column: &str) -> &str {
        match (self.0)(column) {
            Some(Value::String(Some(text))) => text,
            _ => "",
        }
    }
}

/// What stands in the place of an input.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Description {
    /// What is the case.
    pub text: String,
    /// Where to change it, relative to the object's own page.
    pub link: &'static str,
    /// What the link says.
    pub link_text: &'static str,
}

impl Rules for () {}
