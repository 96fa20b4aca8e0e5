//! A registered model, with its entity's type left behind: what the engine works with.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, QueryResult, Value,
    sea_query::{Alias, Expr, ExprTrait, LockType, Order, Query, SelectStatement},
};

use super::{
    field::{Field, Kind, Raw},
    options::{Cell, Dependent, Fieldset, Layout, ManyToMany, Rules},
};
use crate::{
    auth::login::User,
    db::{Connection, Transaction},
};

/// The key that every registered model has.
pub const KEY: &str = "id";

/// Reads an object from a row.
pub(super) type Read =
    Box<dyn Fn(&QueryResult, DateTime<Utc>) -> Result<Object, DbErr> + Send + Sync>;

/// A registered model.
pub struct Model {
    /// The app's label.
    pub app_label: &'static str,
    /// Its name in small letters.
    pub name: &'static str,
    /// What a person calls one.
    pub verbose_name: &'static str,
    /// What a person calls several.
    pub verbose_name_plural: &'static str,
    /// Its table.
    pub table: &'static str,
    /// Its fields: those with a column first, in their order, then many-to-many, then virtual ones.
    pub fields: Vec<Field>,
    /// Computed columns of the changelist.
    pub computed: Vec<ComputedColumn>,
    /// Many-to-many fields.
    pub many_to_many: Vec<ManyToMany>,
    /// Other rows that go with an object.
    pub dependents: Vec<Dependent>,
    /// See [`ModelAdmin`], for this and those below.
    pub list_display: &'static [&'static str],
    pub list_editable: &'static [&'static str],
    pub list_filter: &'static [&'static str],
    pub search_fields: &'static [&'static str],
    pub date_hierarchy: Option<&'static str>,
    pub ordering: &'static [&'static str],
    pub list_per_page: u64,
    pub list_max_show_all: u64,
    pub fieldsets: Vec<Fieldset>,
    pub add_fieldsets: Option<Vec<Fieldset>>,
    pub readonly_fields: &'static [&'static str],
    pub inlines: Vec<InlineModel>,
    pub save_as: bool,
    pub view_on_site: Option<fn(i32) -> String>,
    pub rules: Box<dyn Rules>,
    /// The options that name no field: mistakes, which `check` tells of.
    pub unknown_options: Vec<&'static str>,
    /// Whether the entity's key is one integer named `id`.
    pub has_usual_key: bool,
    pub(super) read: Read,
}

/// A computed column.
pub struct ComputedColumn {
    /// Its name in `list_display`.
    pub name: &'static str,
    /// Its heading.
    pub heading: &'static str,
    /// The field that orders it.
    pub ordered_by: Option<&'static str>,
    pub(super) sql: Option<fn() -> SelectStatement>,
}

/// Forms for the objects that belong to another.
pub struct InlineModel {
    /// The model of those objects.
    pub model: Model,
    /// How they stand.
    pub layout: Layout,
    /// The field that refers to the object.
    pub key: &'static str,
    /// Empty forms to begin with.
    pub extra: usize,
    /// Forms at most.
    pub max: usize,
}

impl InlineModel {
    /// The beginning of the names of its fields in a form, as Django has it without a `related_name`.
    pub fn prefix(&self) -> String {
        format!("{}_set", self.model.name)
    }
}

/// An object, as far as the engine knows it.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its key.
    pub id: i32,
    /// What stands for it.
    pub label: String,
    /// Its columns, in the order of the model's fields.
    pub values: Vec<Value>,
    /// Its computed columns, in the order of the model's.
    pub computed: Vec<Cell>,
}

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

impl Model {
    /// The field of that name.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The fields that have a column.
    pub fn concrete(&self) -> impl Iterator<Item = &Field> {
        self.fields
            .iter()
            .filter(|field| !matches!(field.kind, Kind::ManyToMany | Kind::Virtual(_)))
    }

    /// The value of an object's field.
    pub fn value<'a>(&self, object: &'a Object, name: &str) -> Option<&'a Value> {
        let position = self.concrete().position(|field| field.name == name)?;
        object.values.get(position)
    }

    /// Whether `user`, who has the permission for the model, may change and delete all of these objects.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn may_change(
        &self,
        db: Connection<'_>,
        user: &User,
        ids: &[i32],
    ) -> Result<bool, DbErr> {
        Ok(self.rules.not_changeable(db, user, ids).await?.is_empty())
    }

    /// The permission to do something with objects of this model: `polls_app.change_question`.
    pub fn permission(&self, action: &str) -> String {
        format!("{}.{action}_{}", self.app_label, self.name)
    }

    /// The address of the changelist.
    pub fn url(&self) -> String {
        format!("/admin/{}/{}/", self.app_label, self.name)
    }

    /// The address of a page about one object.
    pub fn object_url(&self, id: i32, page: &str) -> String {
        format!("{}{id}/{page}/", self.url())
    }

    /// A column of the table.
    pub fn column(&self, column: &str) -> Expr {
        Expr::col((Alias::new(self.table), Alias::new(column)))
    }

    /// Selects all that an object is made of.
    pub fn select(&self) -> SelectStatement {
        let table = Alias::new(self.table);
        let mut query = Query::select();
        query
            .column((table.clone(), Alias::new(KEY)))
            .from(table.clone());
        for field in self.concrete() {
            query.column((table.clone(), Alias::new(field.column)));
        }
        query
    }

    /// Adds the computed columns to a query.
    pub fn select_computed(&self, query: &mut SelectStatement) {
        for column in &self.computed {
            let value = match column.sql {
                Some(sql) => Expr::from(sql()),
                None => continue,
            };
            query.expr_as(value, Alias::new(column.name));
        }
    }

    /// The object of a row.
    ///
    /// # Errors
    /// When a column is not there or of another type.
    pub fn object(&self, row: &QueryResult, now: DateTime<Utc>) -> Result<Object, DbErr> {
        (self.read)(row, now)
    }

    /// The objects that a query chooses; the computed columns from the database are added to it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn all(
        &self,
        db: Connection<'_>,
        mut query: SelectStatement,
        now: DateTime<Utc>,
    ) -> Result<Vec<Object>, DbErr> {
        self.select_computed(&mut query);
        let rows = db.query_all(&query).await?;
        rows.iter().map(|row| self.object(row, now)).collect()
    }

    /// The object of a key.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find(
        &self,
        db: Connection<'_>,
        id: i32,
        now: DateTime<Utc>,
    ) -> Result<Option<Object>, DbErr> {
        let query = self.select().and_where(self.column(KEY).eq(id)).take();
        Ok(self.all(db, query, now).await?.pop())
    }

    /// Lets a query's rows be changed by nobody else until the transaction ends; others may still refer to them. SQLite
    /// has one writer anyway.
    pub fn lock(query: &mut SelectStatement, db: Connection<'_>) {
        if db.get_database_backend() == DbBackend::Postgres {
            query.lock(LockType::NoKeyUpdate);
        }
    }

    /// The objects of these keys, in the order of the keys, which nobody else can change, delete or refer to until the
    /// transaction ends.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn seize(
        &self,
        tx: &Transaction,
        keys: &[i32],
        now: DateTime<Utc>,
    ) -> Result<Vec<Object>, DbErr> {
        let mut query = self.select();
        query
            .and_where(self.column(KEY).is_in(keys.iter().copied()))
            .order_by_expr(self.column(KEY), Order::Asc);
        if tx.get_database_backend() == DbBackend::Postgres {
            query.lock(LockType::Update);
        }
        self.all(Connection::Transaction(tx), query, now).await
    }

    /// The keys that an object has in a many-to-many field, in order.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn chosen(&self, db: Connection<'_>, name: &str, id: i32) -> Result<Vec<i32>, DbErr> {
        let Some(relation) = self
            .many_to_many
            .iter()
            .find(|relation| relation.name == name)
        else {
            return Ok(Vec::new());
        };
        let (table, near, far) = relation.through;
        let query = Query::select()
            .column(Alias::new(far))
            .from(Alias::new(table))
            .and_where(Expr::col(Alias::new(near)).eq(id))
            .order_by(Alias::new(far), Order::Asc)
            .take();
        db.query_all(&query)
            .await?
            .iter()
            .map(|row| row.try_get("", far))
            .collect()
    }

    /// The form's view of an object's field.
    pub fn raw(&self, object: &Object, field: &Field, zone: chrono_tz::Tz) -> Raw {
        self.value(object, field.name)
            .map_or_else(Raw::new, |value| field.raw(value, zone))
    }
}
