//! The methods of queries that write.

use migration::{Field, Kind};
use rhai::{Dynamic, Map};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr,
    sea_query::{Alias, Expr, ExprTrait, Func, Query},
};

use super::{
    connection::{Result, error, failure},
    delete::{self, Deleted},
    instance::{Instance, convert},
    queryset::QuerySet,
};
use crate::db::{self, Transaction};

/// The value of a column in an update (Django's `F`), with a number that is added.
#[derive(Debug, Clone)]
pub struct ColumnValue {
    /// The name of the field.
    pub field: String,
    /// The number.
    pub added: i64,
}

/// The sum of a column and a number. SQLite makes a floating-point number of a sum beyond 64 bits, which is no value of the column:
/// there `abs` of the smallest integer fails with "integer overflow".
fn sum(column: Expr, added: i64, backend: DbBackend) -> Expr {
    if backend != DbBackend::Sqlite {
        return column.add(added);
    }
    let sum = column.add(added);
    let is_integer = Func::cust("typeof").arg(sum.clone());
    let overflow = Func::abs(Expr::val(i64::MIN));
    Expr::case(Expr::from(is_integer).eq("integer"), sum)
        .finally(Expr::from(overflow))
        .into()
}

impl QuerySet {
    /// Stores a new object.
    ///
    /// # Errors
    /// When there is no such field, a value is missing or invalid, or the database refuses it.
    pub fn create(&self, mut fields: Map) -> Result<Instance> {
        for (name, value) in &self.initial {
            fields.entry(name.clone()).or_insert_with(|| value.clone());
        }
        let mut instance = Instance::new(&self.connection, self.model, fields)?;
        instance.save()?;
        if self.relation.is_some() {
            self.add(&[Dynamic::from(instance.clone())])?;
        }
        Ok(instance)
    }

    /// Stores a new user with a password, from which the hash is made (Django's `UserManager`); without one, it is unusable.
    ///
    /// # Errors
    /// As [`Self::create`]; when the password could not be used at the login.
    pub fn create_with_password(&self, mut fields: Map, password: &Dynamic) -> Result<Instance> {
        if self.model.name != "User" {
            return Err(failure(format!("{} has no password", self.model.name)));
        }
        if !password.is_unit() {
            let password = password.clone().into_string();
            let password = password.map_err(|_| failure("the password has to be a text"))?;
            fields.insert("password".into(), self.connection.hash(&password)?.into());
        }
        self.create(fields)
    }

    /// The object for which the lookups hold, or a new one with their fields and those of `defaults`; and whether it is new.
    ///
    /// # Errors
    /// When there are several; those of [`Self::filter`] and [`Self::create`].
    pub fn get_or_create(&self, mut lookups: Map) -> Result<(Instance, bool)> {
        let defaults = lookups
            .remove("defaults")
            .and_then(Dynamic::try_cast::<Map>);
        let found = self.filter(&lookups)?;
        if found.slice(0, 1)?.count()? > 0 {
            return found.get().map(|found| (found, false));
        }
        lookups.retain(|name, _| !name.contains("__"));
        lookups.extend(defaults.into_iter().flatten());
        Ok((self.create(lookups)?, true))
    }

    /// Changes fields of all objects in one statement; returns their number.
    ///
    /// # Errors
    /// When there is no such field, a value is invalid, the query is a slice, or the database refuses it.
    pub fn update(&self, fields: &Map) -> Result<i64> {
        self.require_whole("update")?;
        let mut update = Query::update();
        update.table(Alias::new(&self.model.table));
        for (name, value) in fields {
            let is_field =
                |field: &&Field| field.name == name.as_str() || field.column() == name.as_str();
            let field = self.model.columns().find(is_field);
            let field =
                field.ok_or_else(|| failure(format!("{} has no field {name}", self.model.name)))?;
            let column = Alias::new(field.column());
            if let Some(other) = value.clone().try_cast::<ColumnValue>() {
                let source = self.model.columns().find(|field| field.name == other.field);
                let source =
                    source.filter(|source| source.kind == Kind::Integer || other.added == 0);
                let source = source
                    .ok_or_else(|| failure(format!("{} is no field with numbers", other.field)))?;
                let source = Expr::col(Alias::new(source.column()));
                let sum = if other.added == 0 {
                    source
                } else {
                    sum(source, other.added, self.connection.backend())
                };
                update.value(column, sum);
            } else {
                update.value(column, convert(&self.connection, field, value)?);
            }
        }
        for condition in &self.conditions {
            update.and_where(condition.clone());
        }
        if fields.is_empty() {
            return Err(failure("update() needs fields"));
        }
        self.connection.write(async |tx| {
            let updated = tx.execute(&update).await.map_err(error)?;
            Ok(i64::try_from(updated.rows_affected()).unwrap_or(i64::MAX))
        })
    }

    /// Deletes all objects, with those that refer to them.
    ///
    /// # Errors
    /// When the query is a slice, or the database refuses it.
    pub fn delete(&self) -> Result<Deleted> {
        self.require_whole("delete")?;
        let mut objects = self.clone();
        objects.order.clear();
        delete::delete(&self.connection, self.model, objects.select())
    }

    /// Relates objects to the object that the query belongs to.
    ///
    /// # Errors
    /// When the query belongs to no many-to-many field, or the database refuses it.
    pub fn add(&self, objects: &[Dynamic]) -> Result<()> {
        let keys = self.keys_of(objects)?;
        self.change(async |tx, through, id| db::add_related(tx, through, id, &keys).await)
    }

    /// Ends the relation of objects to the object that the query belongs to.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn remove(&self, objects: &[Dynamic]) -> Result<()> {
        let keys = self.keys_of(objects)?;
        self.change(async |tx, through, id| db::remove_related(tx, through, id, &keys).await)
    }

    /// Makes these objects the ones that are related to the object that the query belongs to.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn set(&self, objects: &[Dynamic]) -> Result<()> {
        let keys = self.keys_of(objects)?;
        self.change(async |tx, through, id| db::set_related(tx, through, id, &keys).await)
    }

    fn keys_of(&self, objects: &[Dynamic]) -> Result<Vec<i32>> {
        let mut keys = Vec::new();
        for object in objects {
            if let Some(query) = object.clone().try_cast::<QuerySet>() {
                let found = query.fetch()?.into_iter().map(Dynamic::from);
                keys.extend(self.keys_of(&found.collect::<Vec<_>>())?);
            } else if let Some(instance) = object.clone().try_cast::<Instance>() {
                if instance.model.table != self.model.table {
                    let name = self.model.name;
                    return Err(failure(format!("{} is no {name}", instance.repr())));
                }
                keys.push(instance.id()?);
            } else {
                let key = object.as_int().ok().and_then(|key| i32::try_from(key).ok());
                let key =
                    key.ok_or_else(|| failure("related objects are given as objects or keys"));
                keys.push(key?);
            }
        }
        Ok(keys)
    }

    fn change(
        &self,
        change: impl AsyncFnOnce(
            &Transaction,
            (&str, &str, &str),
            i32,
        ) -> std::result::Result<(), DbErr>,
    ) -> Result<()> {
        let Some(relation) = &self.relation else {
            return Err(failure(
                "only all objects of a many-to-many field can be added to or removed from, as user.groups.add(group)",
            ));
        };
        let through = (
            relation.table.as_str(),
            relation.own.as_str(),
            relation.other.as_str(),
        );
        self.connection
            .write(async |tx| change(tx, through, relation.id).await.map_err(error))
    }
}
