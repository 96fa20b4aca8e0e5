//! The rows of a many-to-many relation.

use sea_orm::{
    ConnectionTrait, DbErr,
    sea_query::{Alias, Expr, ExprTrait, Order, Query},
};

use super::Transaction;

/// The keys that are related to `id`, in ascending order; `through` is the relation's table and its columns with the keys of
/// both sides.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn related_keys(
    db: &impl ConnectionTrait,
    (table, source, target): (&str, &str, &str),
    id: i32,
) -> Result<Vec<i32>, DbErr> {
    let query = Query::select()
        .column(Alias::new(target))
        .from(Alias::new(table))
        .and_where(Expr::col(Alias::new(source)).eq(id))
        .order_by(Alias::new(target), Order::Asc)
        .take();
    let rows = db.query_all(&query).await?;
    rows.iter().map(|row| row.try_get("", target)).collect()
}

/// Makes `keys` the ones that are related to `id`; rows of keys that were related before stay as they are.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn set_related(
    tx: &Transaction,
    through: (&str, &str, &str),
    id: i32,
    keys: &[i32],
) -> Result<(), DbErr> {
    let current = related_keys(tx, through, id).await?;
    let removed = current.iter().copied().filter(|key| !keys.contains(key));
    remove_related(tx, through, id, &removed.collect::<Vec<_>>()).await?;
    add_related(tx, through, id, keys).await
}

/// Relates keys to `id` that are not related yet.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn add_related(
    tx: &Transaction,
    through: (&str, &str, &str),
    id: i32,
    keys: &[i32],
) -> Result<(), DbErr> {
    let current = related_keys(tx, through, id).await?;
    let added = keys.iter().copied().filter(|key| !current.contains(key));
    let mut added: Vec<i32> = added.collect();
    added.sort_unstable();
    added.dedup();
    if added.is_empty() {
        return Ok(());
    }
    let (table, source, target) = through;
    let mut insert = Query::insert();
    insert
        .into_table(Alias::new(table))
        .columns([Alias::new(source), Alias::new(target)]);
    for key in added {
        insert.values_panic([id.into(), key.into()]);
    }
    tx.execute(&insert).await.map(drop)
}

/// Ends the relation of keys to `id`.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn remove_related(
    tx: &Transaction,
    (table, source, target): (&str, &str, &str),
    id: i32,
    keys: &[i32],
) -> Result<(), DbErr> {
    if keys.is_empty() {
        return Ok(());
    }
    let delete = Query::delete()
        .from_table(Alias::new(table))
        .and_where(Expr::col(Alias::new(source)).eq(id))
        .and_where(Expr::col(Alias::new(target)).is_in(keys.iter().copied()))
        .take();
    tx.execute(&delete).await.map(drop)
}
