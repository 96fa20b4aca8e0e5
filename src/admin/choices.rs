//! The choices of relation fields.

use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{Alias, Expr, ExprTrait, Order, Query},
};

use super::{entity::KEY, form::FormContext, model::Model};
use crate::db::Connection;

/// The maximum number of choices in a `<select>`; with more, the user enters the key.
pub const MAX_LISTED: u64 = 1000;

/// The choices of a many-to-many field: keys and labels, in the order of the declared query. Empty for an unknown field.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn of_relation(
    model: &Model,
    name: &str,
    db: Connection<'_>,
) -> Result<Vec<(i32, String)>, DbErr> {
    let Some(relation) = model.relation(name) else {
        return Ok(Vec::new());
    };
    let rows = db.query_all(&(relation.choices.query)()).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("", KEY)?, (relation.choices.label)(row)?)))
        .collect()
}

/// The keys and labels of a table's objects, by key; `None` when there are more than [`MAX_LISTED`], or their model is not
/// registered.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn of_table(
    table: &str,
    db: Connection<'_>,
    form_context: FormContext<'_>,
) -> Result<Option<Vec<(i32, String)>>, DbErr> {
    let Some(model) = form_context.site.of_table(table) else {
        return Ok(None);
    };
    let mut query = model.select();
    query
        .order_by_expr(model.column(KEY), Order::Asc)
        .limit(MAX_LISTED + 1);
    let objects = model.all(db, query, form_context.now).await?;
    let is_listable = objects.len() as u64 <= MAX_LISTED;
    Ok(is_listable.then(|| {
        objects
            .into_iter()
            .map(|object| (object.id, object.label))
            .collect()
    }))
}

/// Whether a table has a row with this key.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn exists(table: &str, id: i32, db: Connection<'_>) -> Result<bool, DbErr> {
    let query = Query::select()
        .expr(Expr::val(1))
        .from(Alias::new(table))
        .and_where(Expr::col(Alias::new(KEY)).eq(id))
        .take();
    Ok(db.query_one(&query).await?.is_some())
}
