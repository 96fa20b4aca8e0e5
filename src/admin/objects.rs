//! The objects of a model in the database.

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, QueryResult,
    sea_query::{Alias, Expr, ExprTrait, LockType, Order, Query, SelectStatement},
};

use super::{
    entity::KEY,
    model::{Model, Object},
    options::{Cell, Computed, Source},
};
use crate::{
    auth::login::User,
    db::{self, Connection, Transaction},
};

impl Model {
    /// Selects the columns of objects.
    pub fn select(&self) -> SelectStatement {
        let table = Alias::new(self.table());
        let mut query = Query::select();
        query
            .column((table.clone(), Alias::new(KEY)))
            .from(table.clone());
        for field in self.concrete() {
            match field.side_table {
                None => query.column((table.clone(), Alias::new(field.column))),
                Some(_) => query.expr_as(self.expression(field), Alias::new(field.column)),
            };
        }
        query
    }

    /// Adds the computed columns to a query.
    pub fn select_computed(&self, query: &mut SelectStatement) {
        for column in &self.options.computed {
            if let Source::Sql(sql) = column.source {
                query.expr_as(Expr::from(sql()), Alias::new(column.name));
            }
        }
    }

    /// The object of a row.
    ///
    /// # Errors
    /// When a column is missing or has another type.
    pub fn object(&self, row: &QueryResult, now: DateTime<Utc>) -> Result<Object, DbErr> {
        let (label, mut values) = (self.options.entity.read)(row)?;
        for field in self.concrete().filter(|field| field.side_table.is_some()) {
            values.push(field.read(row, field.column)?);
        }
        let cell = |column: &Computed| match &column.source {
            Source::Row(compute) => compute(row, now),
            Source::Sql(_) => {
                let number = row.try_get::<Option<i64>>("", column.name)?;
                Ok(Cell::Number(number.unwrap_or(0)))
            }
        };
        let computed: Result<_, DbErr> = self.options.computed.iter().map(cell).collect();
        Ok(Object {
            id: row.try_get("", KEY)?,
            label,
            values,
            computed: computed?,
        })
    }

    /// The objects of a query, to which the computed columns are added.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
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

    /// The object with a key.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn find(
        &self,
        db: Connection<'_>,
        id: i32,
        now: DateTime<Utc>,
    ) -> Result<Option<Object>, DbErr> {
        let query = self.select().and_where(self.column(KEY).eq(id)).take();
        Ok(self.all(db, query, now).await?.pop())
    }

    /// Locks a query's rows against changes until the transaction ends (`FOR NO KEY UPDATE`); new references to them are still
    /// possible. SQLite has one writer and needs no lock.
    pub fn lock(query: &mut SelectStatement, db: Connection<'_>) {
        if db.get_database_backend() == DbBackend::Postgres {
            query.lock(LockType::NoKeyUpdate);
        }
    }

    /// The objects with these keys, in the order of the keys, locked against changes, deletion and new references until the
    /// transaction ends (`FOR UPDATE`).
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn select_for_update(
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

    /// The related keys of an object in a many-to-many field, ascending.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn related_keys(
        &self,
        db: Connection<'_>,
        name: &str,
        id: i32,
    ) -> Result<Vec<i32>, DbErr> {
        match self.relation(name) {
            Some(relation) => db::related_keys(&db, relation.through, id).await,
            None => Ok(Vec::new()),
        }
    }

    /// Whether `user`, who has the permission for the model, may change and delete all of these objects.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn may_change(
        &self,
        db: Connection<'_>,
        user: &User,
        ids: &[i32],
    ) -> Result<bool, DbErr> {
        Ok(self
            .options
            .rules
            .unchangeable_keys(db, user, ids)
            .await?
            .is_empty())
    }
}
