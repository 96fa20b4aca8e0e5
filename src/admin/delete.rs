//! What goes when objects go, and letting it go (`django/contrib/admin/utils.py`, `NestedObjects`).

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, SqlErr,
    sea_query::{Alias, Expr, ExprTrait, Func, Order, Query},
};
use serde::Serialize;

use super::{
    AdminSite,
    entity::KEY,
    log::{Action, Log},
    model::{Model, Object},
    options::Dependent,
};
use crate::{
    auth::login::User,
    db::{Connection, Transaction},
    web::format::{counted_as, grouped},
};

/// The most that a page names; what is beyond is counted.
const MAX_NAMED: u64 = 100;
/// Lines that fit on a screen together with the buttons below them.
const LONG: usize = 10;
/// Keys in one statement.
const KEYS_AT_ONCE: usize = 1000;

/// What would go.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    /// How many of what: `3 choices`.
    pub summary: Vec<String>,
    /// The counts that will be lost: `1,012,345 votes`.
    pub lost: Vec<String>,
    /// The objects, each with what goes with it.
    pub objects: Vec<Doomed>,
    /// Whether so much is named that the buttons below are far away.
    pub is_long: bool,
    /// How many objects are not named.
    pub unnamed: Option<String>,
    /// What the user may not delete.
    pub forbidden: Vec<String>,
}

/// An object that would go.
#[derive(Debug, Serialize)]
pub struct Doomed {
    /// What it is and what stands for it: `Question: …`.
    pub text: String,
    /// Its page.
    pub url: String,
    /// What goes with it.
    pub rows: Vec<String>,
}

impl Plan {
    /// Finds out what goes with objects of a model.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn new(
        site: &AdminSite,
        model: &Model,
        objects: &[Object],
        db: Connection<'_>,
        user: &User,
    ) -> Result<Self, DbErr> {
        let mut plan = Self::default();
        plan.summary.push(counted_as(
            objects.len() as u64,
            model.options.verbose_name,
            model.options.verbose_name_plural,
        ));
        let kind = crate::contenttypes::capitalized(model.options.verbose_name);
        let named = &objects[..objects.len().min(MAX_NAMED as usize)];
        plan.objects = named
            .iter()
            .map(|object| Doomed {
                text: format!("{kind}: {}", object.label),
                url: model.object_url(object.id, "change"),
                rows: Vec::new(),
            })
            .collect();
        let unnamed = objects.len() - named.len();
        plan.unnamed = (unnamed > 0).then(|| grouped(unnamed as i64));
        let keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
        for dependent in dependents(model) {
            let (total, counted) = dependent.totals(&keys, db).await?;
            if total == 0 {
                continue;
            }
            if let Some((_, (one, several))) = dependent.counter
                && counted > 0
            {
                plan.lost.push(counted_as(counted, one, several));
            }
            plan.summary.push(counted_as(
                total,
                dependent.verbose_name,
                dependent.verbose_name_plural,
            ));
            if let Some(other) = site.of_table(dependent.table.0)
                && !user.has_perm(&other.permission("delete"))
                && !plan
                    .forbidden
                    .contains(&other.options.verbose_name.to_owned())
            {
                plan.forbidden.push(other.options.verbose_name.to_owned());
            }
            plan.name_rows(&dependent, named, db).await?;
        }
        let rows = plan.objects.iter().map(|object| object.rows.len());
        plan.is_long = plan.objects.len() + rows.sum::<usize>() > LONG;
        Ok(plan)
    }

    async fn name_rows(
        &mut self,
        dependent: &Dependent,
        named: &[Object],
        db: Connection<'_>,
    ) -> Result<(), DbErr> {
        let (Some(label), (_, key)) = (dependent.label_column, dependent.table) else {
            return Ok(());
        };
        let keys: Vec<i32> = named.iter().map(|object| object.id).collect();
        let mut query = dependent.rows(&keys);
        query
            .expr_as(Expr::col(Alias::new(key)), Alias::new("owner"))
            .expr_as(Expr::col(Alias::new(label)), Alias::new("label"))
            .order_by(Alias::new(KEY), Order::Asc)
            .limit(MAX_NAMED);
        let kind = crate::contenttypes::capitalized(dependent.verbose_name);
        for row in db.query_all(&query).await? {
            let (owner, label): (i32, String) =
                (row.try_get("", "owner")?, row.try_get("", "label")?);
            if let Some(position) = named.iter().position(|object| object.id == owner) {
                self.objects[position].rows.push(format!("{kind}: {label}"));
            }
        }
        Ok(())
    }
}

/// Deletes objects with what goes with them, logs it, and commits. False, and nothing is deleted, when rows of a table that
/// no model knows refer to them: another application's on the same database.
///
/// # Errors
/// When the database refuses.
pub async fn delete(
    tx: Transaction,
    model: &Model,
    objects: &[Object],
    log: Log<'_>,
) -> Result<bool, DbErr> {
    let deleted = match delete_rows(&tx, model, objects, log).await {
        // Deferred keys are checked at the commit.
        Ok(()) => tx.commit().await,
        Err(error) => Err(error),
    };
    match deleted {
        Ok(()) => Ok(true),
        Err(error) => match error.sql_err() {
            Some(SqlErr::ForeignKeyConstraintViolation(_)) => Ok(false),
            _ => Err(error),
        },
    }
}

/// What to say when objects are still referred to.
pub fn still_referenced(what: &str) -> String {
    format!("Cannot delete {what}: data of another application refers to it. Delete that first.")
}

async fn delete_rows(
    tx: &Transaction,
    model: &Model,
    objects: &[Object],
    log: Log<'_>,
) -> Result<(), DbErr> {
    let named: Vec<(i32, &str)> = objects
        .iter()
        .map(|object| (object.id, object.label.as_str()))
        .collect();
    log.write(tx, Action::Deletion, &named, "").await?;
    let mut keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
    // Always upwards, so that two who delete do not wait for each other.
    keys.sort_unstable();
    for keys in keys.chunks(KEYS_AT_ONCE) {
        for dependent in dependents(model) {
            let (table, column) = dependent.table;
            dependent.lock(tx, keys).await?;
            let delete = Query::delete()
                .from_table(Alias::new(table))
                .and_where(Expr::col(Alias::new(column)).is_in(keys.iter().copied()))
                .take();
            tx.execute(&delete).await?;
        }
        let delete = Query::delete()
            .from_table(Alias::new(model.table()))
            .and_where(Expr::col(Alias::new(KEY)).is_in(keys.iter().copied()))
            .take();
        tx.execute(&delete).await?;
    }
    Ok(())
}

/// The other rows that go: those of inlines, of many-to-many fields, and those that the model names.
fn dependents(model: &Model) -> Vec<Dependent> {
    let inlines = model.options.inlines.iter().map(|inline| {
        let of = &inline.model;
        let text = of
            .concrete()
            .find(|field| matches!(field.kind, super::field::Kind::Char(_)));
        Dependent {
            table: (
                of.table(),
                of.field(inline.key).map_or("", |field| field.column),
            ),
            verbose_name: of.options.verbose_name,
            verbose_name_plural: of.options.verbose_name_plural,
            label_column: text.map(|field| field.column),
            counter: of
                .concrete()
                .find_map(|field| Some((field.column, field.options.counts?))),
        }
    });
    let relations = model.options.many_to_many.iter().map(|relation| Dependent {
        table: (relation.through.0, relation.through.1),
        verbose_name: relation.relationship.0,
        verbose_name_plural: relation.relationship.1,
        label_column: None,
        counter: None,
    });
    inlines
        .chain(relations)
        .chain(model.options.dependents.iter().copied())
        .collect()
}

impl Dependent {
    /// Takes the rows in the order of their keys, as votes do, so that neither waits for the other for ever.
    async fn lock(&self, tx: &Transaction, keys: &[i32]) -> Result<(), DbErr> {
        if tx.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        let mut rows = self.rows(keys);
        rows.column(Alias::new(KEY))
            .order_by(Alias::new(KEY), Order::Asc);
        Model::lock(&mut rows, Connection::Transaction(tx));
        // Counted, so that they need not come here.
        let count = Query::select()
            .expr(Expr::cust("count(*)"))
            .from_subquery(rows, Alias::new("locked"))
            .take();
        tx.query_one(&count).await.map(drop)
    }

    /// The number of rows, and the sum of their counters.
    async fn totals(&self, keys: &[i32], db: Connection<'_>) -> Result<(u64, u64), DbErr> {
        let (mut rows, mut counted) = (0, 0);
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let mut query = self.rows(keys);
            query.expr_as(Expr::cust("count(*)"), Alias::new("count"));
            if let Some((column, _)) = self.counter {
                let sum = Func::sum(Expr::col(Alias::new(column)));
                query.expr_as(sum, Alias::new("sum"));
            }
            let Some(row) = db.query_one(&query).await? else {
                continue;
            };
            rows += row.try_get::<i64>("", "count")?.unsigned_abs();
            if self.counter.is_some() {
                let sum = row.try_get::<Option<i64>>("", "sum")?.unwrap_or(0);
                counted += u64::try_from(sum).unwrap_or(0);
            }
        }
        Ok((rows, counted))
    }

    fn rows(&self, keys: &[i32]) -> sea_orm::sea_query::SelectStatement {
        let (table, column) = self.table;
        Query::select()
            .from(Alias::new(table))
            .and_where(Expr::col(Alias::new(column)).is_in(keys.iter().copied()))
            .take()
    }
}
