//! Queries in scripts (Django's `QuerySet`): they are executed when their objects are needed.

use std::rc::Rc;

use migration::Field;
use rhai::{Dynamic, Map};
use sea_orm::{
    ConnectionTrait, QueryResult,
    sea_query::{Alias, Expr, ExprTrait, Func, Order, Query, SelectStatement},
};

use super::{
    connection::{Connection, Result, error, failure},
    instance::Instance,
    lookups::{self, Scope},
    order::{default_order, sort_key},
};
use crate::{
    apps::{self, Model},
    fixtures,
};

/// Objects that a text of a query shows.
const SHOWN: u64 = 20;

/// The objects of a model for which conditions hold, in an order.
#[derive(Clone)]
pub struct QuerySet {
    pub(super) connection: Rc<Connection>,
    /// The model.
    pub(super) model: &'static Model,
    pub(super) conditions: Vec<Expr>,
    pub(super) order: Vec<(Expr, Order)>,
    offset: u64,
    limit: Option<u64>,
    /// The fields that new objects get: those of the object that the query belongs to.
    pub(super) initial: Map,
    /// The many-to-many relation that the query belongs to.
    pub(super) relation: Option<Relation>,
}

/// A many-to-many relation of an object.
#[derive(Debug, Clone)]
pub struct Relation {
    /// Its table.
    pub table: String,
    /// The column with the key of the object.
    pub own: String,
    /// The column with the keys of the related objects.
    pub other: String,
    /// The key of the object.
    pub id: i32,
}

impl Instance {
    /// Django's `repr`: `<Question: What's new?>`.
    pub fn repr(&self) -> String {
        format!("<{}: {self}>", self.model.name)
    }
}

impl QuerySet {
    /// All objects of a model.
    pub fn all(connection: &Rc<Connection>, model: &'static Model) -> Self {
        Self {
            connection: connection.clone(),
            model,
            conditions: Vec::new(),
            order: Vec::new(),
            offset: 0,
            limit: None,
            initial: Map::new(),
            relation: None,
        }
    }

    /// The objects of `model` whose foreign key is this object.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn of_foreign_key(owner: &Instance, model: &'static Model, field: &Field) -> Result<Self> {
        let mut objects = Self::all(&owner.connection, model);
        let condition = Expr::col(Alias::new(field.column())).eq(owner.id()?);
        objects.conditions.push(condition);
        objects
            .initial
            .insert(field.name.as_ref().into(), Dynamic::from(owner.clone()));
        Ok(objects)
    }

    /// The objects that a many-to-many field relates to this object.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn of_many_to_many(owner: &Instance, field: &'static Field) -> Result<Self> {
        let related = apps::related(field).expect("a many-to-many field has a related model");
        let through = owner.model.through(field);
        let columns = (through.table, through.source, through.target);
        Self::of_relation(owner, related, columns)
    }

    /// The objects of `model` whose many-to-many field has this object.
    ///
    /// # Errors
    /// When it is not stored.
    pub fn of_reverse(
        owner: &Instance,
        model: &'static Model,
        field: &'static Field,
    ) -> Result<Self> {
        let through = model.through(field);
        let columns = (through.table, through.target, through.source);
        Self::of_relation(owner, model, columns)
    }

    fn of_relation(
        owner: &Instance,
        model: &'static Model,
        (table, own, other): (String, String, String),
    ) -> Result<Self> {
        let id = owner.id()?;
        let keys = Query::select()
            .column(Alias::new(&other))
            .from(Alias::new(&table))
            .and_where(Expr::col(Alias::new(&own)).eq(id))
            .take();
        let mut objects = Self::all(&owner.connection, model);
        let condition = Expr::col(Alias::new(model.key.column())).in_subquery(keys);
        objects.conditions.push(condition);
        objects.relation = Some(Relation {
            table,
            own,
            other,
            id,
        });
        Ok(objects)
    }

    /// The objects with this key.
    ///
    /// # Errors
    /// When the key is not one of the model.
    pub fn with_key(&self, key: impl Into<Dynamic>) -> Result<Self> {
        self.filter(&Map::from([("pk".into(), key.into())]))
    }

    /// Those for which all lookups hold.
    ///
    /// # Errors
    /// When a field or a lookup is unknown, a value is invalid, or the query is a slice.
    pub fn filter(&self, lookups: &Map) -> Result<Self> {
        self.require_whole("filter")?;
        let mut filtered = self.clone();
        filtered.relation = None;
        filtered.conditions.extend(lookups::conditions(
            &self.connection,
            self.model,
            lookups,
            Scope::Same,
        )?);
        Ok(filtered)
    }

    /// Those for which the lookups do not all hold.
    ///
    /// # Errors
    /// As [`Self::filter`].
    pub fn exclude(&self, lookups: &Map) -> Result<Self> {
        self.require_whole("exclude")?;
        let conditions = lookups::conditions(&self.connection, self.model, lookups, Scope::Each)?;
        let mut filtered = self.clone();
        filtered.relation = None;
        if let Some(all) = conditions.into_iter().reduce(ExprTrait::and) {
            // Rows for which the condition is NULL are not excluded.
            let excluded = Expr::from(Func::coalesce([all, Expr::val(false)]));
            filtered.conditions.push(excluded.not());
        }
        Ok(filtered)
    }

    /// Ordered by fields, or by fields of related objects (`question__pub_date`); descending with `-` before the name.
    ///
    /// # Errors
    /// When there is no such field, or the query is a slice.
    pub fn order_by(&self, names: &[&str]) -> Result<Self> {
        self.require_whole("order_by")?;
        let mut ordered = self.clone();
        ordered.order = names
            .iter()
            .map(|name| {
                let (name, order) = match name.strip_prefix('-') {
                    Some(name) => (name, Order::Desc),
                    None => (*name, Order::Asc),
                };
                Ok((sort_key(self.model, name)?, order))
            })
            .collect::<Result<_>>()?;
        Ok(ordered)
    }

    /// In the opposite order.
    ///
    /// # Errors
    /// When the query is a slice.
    pub fn reverse(&self) -> Result<Self> {
        if self.is_slice() {
            return Err(failure(
                "Cannot reverse a query once a slice has been taken.",
            ));
        }
        let mut reversed = self.clone();
        if reversed.order.is_empty() {
            reversed.order = default_order(self.model);
        }
        for (_, order) in &mut reversed.order {
            *order = match order {
                Order::Desc => Order::Asc,
                _ => Order::Desc,
            };
        }
        Ok(reversed)
    }

    /// The objects from one place up to another.
    ///
    /// # Errors
    /// When a place is negative.
    pub fn slice(&self, start: i64, end: i64) -> Result<Self> {
        let place = |place: i64| {
            u64::try_from(place).map_err(|_| failure("negative places are not supported"))
        };
        let (start, end) = (place(start)?, place(end)?);
        let mut slice = self.clone();
        slice.relation = None;
        // The databases count to 63 bits.
        let offset = self.offset.saturating_add(start);
        slice.offset = Ord::min(offset, i64::MAX.unsigned_abs());
        let length = end.saturating_sub(start);
        slice.limit = Some(match self.limit {
            Some(limit) => Ord::min(length, limit.saturating_sub(start)),
            None => length,
        });
        Ok(slice)
    }

    /// The objects.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub fn fetch(&self) -> Result<Vec<Instance>> {
        let mut query = self.select();
        fixtures::select_object(&mut query, self.model);
        let rows = self
            .connection
            .read(async |db| db.query_all(&query).await)?;
        let objects = rows
            .iter()
            .map(|row| fixtures::read_object(row, self.model));
        let objects = objects
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(error)?;
        Ok(objects
            .into_iter()
            .map(|object| Instance::stored(&self.connection, object))
            .collect())
    }

    /// Django's `repr`, with 20 objects at most.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub fn repr(&self) -> Result<String> {
        let mut shown = self.clone();
        shown.limit = Some(
            self.limit
                .map_or(SHOWN + 1, |limit| Ord::min(limit, SHOWN + 1)),
        );
        let objects = shown.fetch()?;
        let shown = objects.iter().take(SHOWN as usize);
        let mut texts: Vec<String> = shown.map(Instance::repr).collect();
        if objects.len() as u64 > SHOWN {
            texts.push("'...(remaining elements truncated)...'".to_owned());
        }
        Ok(format!("<QuerySet [{}]>", texts.join(", ")))
    }

    /// The only object.
    ///
    /// # Errors
    /// When there is none or more than one.
    pub fn get(&self) -> Result<Instance> {
        let mut objects = self.slice(0, 2)?.fetch()?;
        match (objects.pop(), objects.pop()) {
            (Some(object), None) => Ok(object),
            (None, _) => Err(failure(format!(
                "{} matching query does not exist.",
                self.model.name
            ))),
            (Some(_), Some(_)) => {
                let name = self.model.name;
                Err(failure(format!(
                    "get() returned more than one {name} -- it returned {}!",
                    self.count()?
                )))
            }
        }
    }

    /// The first object in the order, if there is one.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub fn first(&self) -> Result<Dynamic> {
        let first = self.slice(0, 1)?.fetch()?.pop();
        Ok(first.map_or(Dynamic::UNIT, Dynamic::from))
    }

    /// The number of objects.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub fn count(&self) -> Result<i64> {
        let mut keys = self.select();
        keys.column(Alias::new(self.model.key.column()));
        let query = Query::select()
            .expr(Func::count(Expr::val(1)))
            .from_subquery(keys, Alias::new("objects"))
            .take();
        let row: Option<QueryResult> = self
            .connection
            .read(async |db| db.query_one(&query).await)?;
        row.map_or(Ok(0), |row| row.try_get_by_index(0))
            .map_err(error)
    }

    /// The query without columns.
    pub(super) fn select(&self) -> SelectStatement {
        let mut query = Query::select();
        query.from(Alias::new(&self.model.table));
        for condition in &self.conditions {
            query.and_where(condition.clone());
        }
        let default = default_order(self.model);
        let order = if self.order.is_empty() {
            &default
        } else {
            &self.order
        };
        for (expression, order) in order {
            query.order_by_expr(expression.clone(), order.clone());
        }
        // Objects that are equal otherwise, in a certain order.
        query.order_by(Alias::new(self.model.key.column()), Order::Asc);
        if let Some(limit) = self.limit {
            query.limit(limit);
        }
        if self.offset > 0 {
            query.offset(self.offset);
            // SQLite has no offset without a limit.
            if self.limit.is_none() {
                query.limit(i64::MAX.unsigned_abs());
            }
        }
        query
    }

    fn is_slice(&self) -> bool {
        self.limit.is_some() || self.offset > 0
    }

    /// Fails if the query is a slice.
    ///
    /// # Errors
    /// Django's text.
    pub(super) fn require_whole(&self, method: &str) -> Result<()> {
        if self.is_slice() {
            return Err(failure(format!(
                "Cannot use {method}() once a slice has been taken."
            )));
        }
        Ok(())
    }
}

/// Executes the query when a loop begins.
impl IntoIterator for QuerySet {
    type Item = Result<Instance>;
    type IntoIter = std::vec::IntoIter<Result<Instance>>;

    fn into_iter(self) -> Self::IntoIter {
        let objects = match self.fetch() {
            Ok(objects) => objects.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        objects.into_iter()
    }
}
