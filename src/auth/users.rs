//! Users in the database.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait, QueryFilter, sea_query::Expr,
};
use unicode_normalization::UnicodeNormalization;

use crate::{
    db::Transaction,
    entities::user::{ActiveModel, COLUMN, Column, Entity, Model},
};

/// The user with this username. The comparison is case-sensitive.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn find(db: &impl ConnectionTrait, username: &str) -> Result<Option<Model>, DbErr> {
    Entity::find()
        .filter(COLUMN.username.eq(username))
        .one(db)
        .await
}

/// Adds a superuser. Normalises the name to NFKC and the domain of the email address to lower case, as Django's
/// `UserManager` does.
///
/// # Errors
/// When the name is taken, or the database cannot be reached or written to.
pub async fn create_superuser(
    tx: &Transaction,
    username: &str,
    email: &str,
    password: String,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        password: Set(password),
        last_login: Set(None),
        is_superuser: Set(true),
        username: Set(username.nfkc().collect()),
        first_name: Set(String::new()),
        last_name: Set(String::new()),
        email: Set(normalize_email(email)),
        is_staff: Set(true),
        is_active: Set(true),
        date_joined: Set(now),
        ..ActiveModel::default()
    };
    Entity::insert(row)
        .exec_without_returning(tx)
        .await
        .map(drop)
}

/// Sets the password of a user to a hash.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn set_password(tx: &Transaction, id: i32, password: String) -> Result<(), DbErr> {
    let update = Entity::update_many().col_expr(Column::Password, Expr::value(password));
    update.filter(COLUMN.id.eq(id)).exec(tx).await.map(drop)
}

/// Replaces a hash if it is still the stored one; returns whether it was.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn replace_password(
    tx: &Transaction,
    id: i32,
    old: &str,
    new: &str,
) -> Result<bool, DbErr> {
    let update = Entity::update_many().col_expr(Column::Password, Expr::value(new));
    let update = update
        .filter(COLUMN.id.eq(id))
        .filter(COLUMN.password.eq(old));
    Ok(update.exec(tx).await?.rows_affected == 1)
}

/// An email address with its domain in lower case.
pub fn normalize_email(email: &str) -> String {
    match email.trim().rsplit_once('@') {
        Some((name, domain)) => format!("{name}@{}", domain.to_lowercase()),
        None => email.to_owned(),
    }
}
