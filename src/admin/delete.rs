//! Deletion of objects with their dependent objects (`django/contrib/admin/utils.py`, `NestedObjects`).

use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, SqlErr,
    sea_query::{Alias, Expr, ExprTrait, Func, Order, Query, SelectStatement},
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
    introspection::{self, Blocker},
    web::format::{grouped, with_plural},
};

/// The maximum number of objects that a page lists; further objects are only counted.
const MAX_LISTED: u64 = 100;
/// The number of list items that fit on a screen together with the buttons below them.
const SCREEN_LINES: usize = 10;
/// The maximum number of keys in a statement.
const KEYS_PER_STATEMENT: usize = 1000;

/// The objects that would be deleted.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    /// The number of objects by model: `3 choices`.
    pub summary: Vec<String>,
    /// The sums of counters that would be lost: `1,012,345 votes`.
    pub lost: Vec<String>,
    /// The objects, each with its dependent objects.
    pub objects: Vec<DeletedObject>,
    /// Whether the list is longer than a screen, so that the buttons are repeated above it.
    pub is_long: bool,
    /// The number of objects that are not listed.
    pub unnamed: Option<String>,
    /// The models whose objects the user may not delete.
    pub forbidden: Vec<String>,
    /// The rows of other applications that refer to the objects, by table: as long as they exist, the objects cannot be deleted.
    pub blockers: Vec<String>,
}

/// An object that would be deleted.
#[derive(Debug, Serialize)]
pub struct DeletedObject {
    /// Model and label: `Question: Best season?`.
    pub text: String,
    /// The URL of its page.
    pub url: String,
    /// Its dependent objects.
    pub rows: Vec<String>,
}

impl Plan {
    /// Collects the objects that are deleted with objects of a model.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn new(
        site: &AdminSite,
        model: &Model,
        objects: &[Object],
        db: Connection<'_>,
        user: &User,
    ) -> Result<Self, DbErr> {
        let mut plan = Self::default();
        plan.summary.push(model.counted(objects.len() as u64));
        let kind = crate::contenttypes::capfirst(model.options.verbose_name);
        let listed = &objects[..objects.len().min(MAX_LISTED as usize)];
        plan.objects = listed
            .iter()
            .map(|object| DeletedObject {
                text: format!("{kind}: {}", object.label),
                url: model.object_url(object.id, "change"),
                rows: Vec::new(),
            })
            .collect();
        let unnamed = objects.len() - listed.len();
        plan.unnamed = (unnamed > 0).then(|| grouped(unnamed as i64));
        let keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
        for dependent in dependents(model) {
            let (total, counted) = dependent.totals(&keys, db).await?;
            if total == 0 {
                continue;
            }
            if let Some((_, (singular, plural))) = dependent.counter
                && counted > 0
            {
                plan.lost.push(with_plural(counted, singular, plural));
            }
            plan.summary.push(with_plural(
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
            plan.list_rows(&dependent, listed, db).await?;
        }
        plan.blockers = find_blockers(model, &keys, db).await?;
        let rows = plan.objects.iter().map(|object| object.rows.len());
        plan.is_long = plan.objects.len() + rows.sum::<usize>() > SCREEN_LINES;
        Ok(plan)
    }

    /// Whether the user may delete the objects and the database does.
    pub fn is_possible(&self) -> bool {
        self.forbidden.is_empty() && self.blockers.is_empty()
    }

    async fn list_rows(
        &mut self,
        dependent: &Dependent,
        listed: &[Object],
        db: Connection<'_>,
    ) -> Result<(), DbErr> {
        let (Some(label), (_, key)) = (dependent.label_column, dependent.table) else {
            return Ok(());
        };
        let keys: Vec<i32> = listed.iter().map(|object| object.id).collect();
        let mut query = dependent.rows(&keys);
        query
            .expr_as(Expr::col(Alias::new(key)), Alias::new("owner"))
            .expr_as(Expr::col(Alias::new(label)), Alias::new("label"))
            .order_by(Alias::new(KEY), Order::Asc)
            .limit(MAX_LISTED);
        let kind = crate::contenttypes::capfirst(dependent.verbose_name);
        for row in db.query_all(&query).await? {
            let (owner, label): (i32, String) =
                (row.try_get("", "owner")?, row.try_get("", "label")?);
            if let Some(position) = listed.iter().position(|object| object.id == owner) {
                self.objects[position].rows.push(format!("{kind}: {label}"));
            }
        }
        Ok(())
    }
}

/// The rows of unknown tables that refer to the objects with these keys or to their dependent objects, a line per table.
async fn find_blockers(
    model: &Model,
    keys: &[i32],
    db: Connection<'_>,
) -> Result<Vec<String>, DbErr> {
    let foreign_keys = introspection::foreign_keys_to_known(&db).await?;
    if foreign_keys.is_empty() {
        return Ok(Vec::new());
    }
    let mut blockers: Vec<Blocker> = Vec::new();
    for keys in keys.chunks(KEYS_PER_STATEMENT) {
        let own = Dependent::of_keys((model.table(), KEY), keys);
        let mut rows = vec![(model.table(), own)];
        rows.extend(
            dependents(model)
                .iter()
                .map(|dependent| (dependent.table.0, dependent.rows(keys))),
        );
        for (table, rows) in rows {
            for found in introspection::find_blockers(&db, &foreign_keys, table, &rows).await? {
                match blockers.iter_mut().find(|known| known.key == found.key) {
                    Some(known) => known.count += found.count,
                    None => blockers.push(found),
                }
            }
        }
    }
    let line = |blocker: &Blocker| {
        let rows = with_plural(blocker.count, "row", "rows");
        let (table, column) = (blocker.key.table_name(), &blocker.key.column);
        let more = if blocker.count > blocker.keys.len() as u64 {
            ", …"
        } else {
            ""
        };
        let keys = match blocker.keys.as_slice() {
            [] => String::new(),
            keys => format!(": {}{more}", keys.join(", ")),
        };
        format!("{rows} of {table} ({column}){keys}")
    };
    Ok(blockers.iter().map(line).collect())
}

/// Deletes objects with their dependent objects, logs the deletion, and commits. Deletes nothing and returns false when rows of
/// an unknown table refer to them: that of another application on the same database.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn delete(
    tx: Transaction,
    model: &Model,
    objects: &[Object],
    log: Log<'_>,
) -> Result<bool, DbErr> {
    let deleted = match delete_rows(&tx, model, objects, log).await {
        // Deferred foreign keys are checked at the commit.
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

/// The message when rows of an unknown table refer to the objects.
pub fn still_referenced(name: &str) -> String {
    format!("Cannot delete {name}: data of another application refers to it. Delete that first.")
}

async fn delete_rows(
    tx: &Transaction,
    model: &Model,
    objects: &[Object],
    log: Log<'_>,
) -> Result<(), DbErr> {
    let labels: Vec<(i32, &str)> = objects
        .iter()
        .map(|object| (object.id, object.label.as_str()))
        .collect();
    log.write(tx, Action::Deletion, &labels, "").await?;
    let mut keys: Vec<i32> = objects.iter().map(|object| object.id).collect();
    // In ascending order, so that concurrent deletions do not deadlock.
    keys.sort_unstable();
    for keys in keys.chunks(KEYS_PER_STATEMENT) {
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

/// The dependent rows: those of inlines, of many-to-many fields, and those that the model declares.
fn dependents(model: &Model) -> Vec<Dependent> {
    let inlines = model.options.inlines.iter().map(|inline| {
        let inline_model = &inline.model;
        let label_field = inline_model
            .concrete()
            .find(|field| matches!(field.kind, super::field::Kind::Char(_)));
        Dependent {
            table: (
                inline_model.table(),
                inline_model
                    .field(inline.key)
                    .map_or("", |field| field.column),
            ),
            verbose_name: inline_model.options.verbose_name,
            verbose_name_plural: inline_model.options.verbose_name_plural,
            label_column: label_field.map(|field| field.column),
            counter: inline_model
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
    /// Locks the rows in the order of their keys, as votes do, to avoid deadlocks.
    async fn lock(&self, tx: &Transaction, keys: &[i32]) -> Result<(), DbErr> {
        if tx.get_database_backend() == DbBackend::Sqlite {
            return Ok(());
        }
        let mut rows = self.rows(keys);
        rows.column(Alias::new(KEY))
            .order_by(Alias::new(KEY), Order::Asc);
        Model::lock(&mut rows, Connection::Transaction(tx));
        // Counted by the database, so that the rows are not transferred.
        let count = Query::select()
            .expr(Expr::cust("count(*)"))
            .from_subquery(rows, Alias::new("locked"))
            .take();
        tx.query_one(&count).await.map(drop)
    }

    /// The number of rows, and the sum of their counters; 0 without a counter.
    async fn totals(&self, keys: &[i32], db: Connection<'_>) -> Result<(u64, u64), DbErr> {
        let (mut rows, mut counted) = (0, 0);
        for keys in keys.chunks(KEYS_PER_STATEMENT) {
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

    fn rows(&self, keys: &[i32]) -> SelectStatement {
        Self::of_keys(self.table, keys)
    }

    fn of_keys((table, column): (&str, &str), keys: &[i32]) -> SelectStatement {
        Query::select()
            .from(Alias::new(table))
            .and_where(Expr::col(Alias::new(column)).is_in(keys.iter().copied()))
            .take()
    }
}
