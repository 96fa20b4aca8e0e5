//! Stricter than Django: a user who manages users cannot grant permissions that they do not have, nor change users and
//! groups that have more.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait, QueryFilter, Value,
    sea_query::{Expr, ExprTrait, Query, SelectStatement, UnionType},
};

use crate::{
    admin::{Changes, Description, Rules, Values},
    auth::Auth,
    auth::{
        hashers,
        login::User,
        permissions::{self, Permissions},
        validators::{UserAttributes, new_password_errors},
    },
    db::{Connection, Transaction},
    entities::{group_permissions, user, user_groups, user_user_permissions},
    error::Result,
    web::form::REQUIRED,
};

const ESCALATION_ERROR: &str = "You cannot give a right that you do not have yourself: ";

/// The names of the permissions among `keys` that a user does not have.
async fn missing_names(
    db: Connection<'_>,
    user: &User,
    keys: &[i32],
) -> Result<BTreeSet<String>, DbErr> {
    if keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut missing = permissions::missing(db, &user.permissions)
        .await?
        .unwrap_or_default();
    missing.retain(|key, _| keys.contains(key));
    Ok(missing.into_values().collect())
}

/// The keys of the permissions of groups.
async fn keys_of_groups(db: Connection<'_>, groups: &[i32]) -> Result<Vec<i32>, DbErr> {
    let rows = group_permissions::Entity::find().filter(
        group_permissions::COLUMN
            .group_id
            .is_in(groups.iter().copied()),
    );
    Ok(rows
        .all(&db)
        .await?
        .into_iter()
        .map(|row| row.permission_id)
        .collect())
}

/// The column that [`keys`] reads.
const KEY: &str = "key";

/// The keys that a query returns.
async fn keys(db: Connection<'_>, query: &SelectStatement) -> Result<BTreeSet<i32>, DbErr> {
    let rows = db.query_all(query).await?;
    rows.iter().map(|row| row.try_get("", KEY)).collect()
}

/// The error message for permissions that the user cannot grant; names at most three of them.
fn escalation_error(names: &BTreeSet<String>) -> String {
    let first: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
    let more = if names.len() > first.len() {
        ", …"
    } else {
        "."
    };
    format!("{ESCALATION_ERROR}{}{more}", first.join(", "))
}

/// The rules of the model `Group`.
pub struct GroupRules;

#[async_trait]
impl Rules for GroupRules {
    /// Groups with permissions that the user does not have: the user could remove them and not grant them again.
    async fn unchangeable_keys(
        &self,
        db: Connection<'_>,
        user: &User,
        ids: &[i32],
    ) -> Result<BTreeSet<i32>, DbErr> {
        let Some(missing) = permissions::missing(db, &user.permissions).await? else {
            return Ok(BTreeSet::new());
        };
        let groups = Query::select()
            .distinct()
            .expr_as(Expr::col(group_permissions::Column::GroupId), KEY)
            .from(group_permissions::Entity)
            .and_where(
                group_permissions::COLUMN
                    .group_id
                    .is_in(ids.iter().copied()),
            )
            .and_where(
                group_permissions::COLUMN
                    .permission_id
                    .is_in(missing.into_keys()),
            )
            .take();
        keys(db, &groups).await
    }

    /// New permissions must be among the user's own; the group keeps those it had.
    async fn validate(
        &self,
        tx: &Transaction,
        user: &User,
        id: Option<i32>,
        changes: &mut Changes,
    ) -> Result<(), DbErr> {
        let db = Connection::Transaction(tx);
        let before = match id {
            Some(id) => keys_of_groups(db, &[id]).await?,
            None => Vec::new(),
        };
        let chosen = changes
            .related_keys
            .get("permissions")
            .cloned()
            .unwrap_or_default();
        let new: Vec<i32> = chosen
            .into_iter()
            .filter(|key| !before.contains(key))
            .collect();
        let missing = missing_names(db, user, &new).await?;
        if !missing.is_empty() {
            changes.add_error("permissions", escalation_error(&missing));
        }
        Ok(())
    }
}

/// The rules of the model `User`.
pub struct UserRules;

#[async_trait]
impl Rules for UserRules {
    /// Requires the change permission, as in Django: adding a user continues with the change form.
    fn may_add(&self, user: &User) -> bool {
        user.has_perm("auth.change_user")
    }

    /// Users with permissions that `user` does not have. Those of inactive users count: activation restores them.
    async fn unchangeable_keys(
        &self,
        db: Connection<'_>,
        user: &User,
        ids: &[i32],
    ) -> Result<BTreeSet<i32>, DbErr> {
        let Some(missing) = permissions::missing(db, &user.permissions).await? else {
            return Ok(BTreeSet::new());
        };
        let missing = || missing.keys().copied();
        let ids = || ids.iter().copied();
        let through_groups = Query::select()
            .expr_as(Expr::col(user_groups::Column::UserId), KEY)
            .from(user_groups::Entity)
            .inner_join(
                group_permissions::Entity,
                Expr::col((user_groups::Entity, user_groups::Column::GroupId)).equals((
                    group_permissions::Entity,
                    group_permissions::Column::GroupId,
                )),
            )
            .and_where(user_groups::COLUMN.user_id.is_in(ids()))
            .and_where(group_permissions::COLUMN.permission_id.is_in(missing()))
            .take();
        let of_their_own = Query::select()
            .expr_as(Expr::col(user_user_permissions::Column::UserId), KEY)
            .from(user_user_permissions::Entity)
            .and_where(user_user_permissions::COLUMN.user_id.is_in(ids()))
            .and_where(user_user_permissions::COLUMN.permission_id.is_in(missing()))
            .take();
        let mut users = Query::select()
            .expr_as(Expr::col(user::Column::Id), KEY)
            .from(user::Entity)
            .and_where(user::COLUMN.id.is_in(ids()))
            .and_where(user::COLUMN.is_superuser.eq(true))
            .take();
        users
            .union(UnionType::Distinct, through_groups)
            .union(UnionType::Distinct, of_their_own);
        keys(db, &users).await
    }

    async fn validate(
        &self,
        tx: &Transaction,
        user: &User,
        id: Option<i32>,
        changes: &mut Changes,
    ) -> Result<(), DbErr> {
        if user.permissions == Permissions::All {
            return Ok(());
        }
        let db = Connection::Transaction(tx);
        let target = match id {
            Some(id) => user::Entity::find_by_id(id).one(tx).await?,
            None => None,
        };
        if let Some(id) = id
            && !self.unchangeable_keys(db, user, &[id]).await?.is_empty()
        {
            changes.add_error(
                "username",
                "This user has rights that you do not have, and so you cannot change them.",
            );
        }
        let was_superuser = target.as_ref().is_some_and(|target| target.is_superuser);
        if changes.is_true("is_superuser") && !was_superuser {
            changes.add_error(
                "is_superuser",
                "Only a superuser can make another user a superuser.",
            );
        }
        if let Some(keys) = changes.related_keys.get("user_permissions") {
            let missing = missing_names(db, user, keys).await?;
            if !missing.is_empty() {
                changes.add_error("user_permissions", escalation_error(&missing));
            }
        }
        if let Some(groups) = changes.related_keys.get("groups") {
            let missing = missing_names(db, user, &keys_of_groups(db, groups).await?).await?;
            if !missing.is_empty() {
                changes.add_error("groups", escalation_error(&missing));
            }
        }
        Ok(())
    }

    async fn prepare(&self, auth: &Auth, changes: &mut Changes) -> Result<()> {
        let encoded = if changes.text("usable_password") == "false" {
            hashers::unusable_password()
        } else {
            let (new, again) = (
                changes.text("password1").to_owned(),
                changes.text("password2").to_owned(),
            );
            for (name, text) in [("password1", &new), ("password2", &again)] {
                // A field that is invalid has an error, and no value.
                if text.is_empty() && !changes.errors.contains_key(name) {
                    changes.add_error(name, REQUIRED);
                }
            }
            if !new.is_empty() && !again.is_empty() {
                let username = changes.text("username").to_owned();
                let known = UserAttributes {
                    username: &username,
                    ..UserAttributes::default()
                };
                for error in new_password_errors(&new, &again, &known) {
                    changes.add_error("password2", error);
                }
            }
            // Hashing is slow: not for an invalid form.
            if !changes.errors.is_empty() {
                return Ok(());
            }
            // Requests that add users share one queue.
            auth.hashing.make_password(new, None).await?
        };
        changes
            .values
            .insert("password", Value::String(Some(encoded)));
        Ok(())
    }

    fn describe(&self, _: &str, values: &Values<'_>) -> Description {
        let encoded = values.text("password");
        let (text, link_text) = match hashers::algorithm(encoded) {
            _ if !hashers::is_usable(encoded) => ("No password set.".to_owned(), "Set password"),
            Some(algorithm) => (
                format!("A password is set ({algorithm})."),
                "Reset password",
            ),
            None => (
                "Invalid password format or unknown hashing algorithm.".to_owned(),
                "Reset password",
            ),
        };
        Description {
            text,
            link: "../password/",
            link_text,
        }
    }

    fn continues_after_add(&self) -> bool {
        true
    }
}
