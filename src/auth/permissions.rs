//! Permissions of users: their own and those of their groups.

use std::collections::BTreeSet;

use migration::Model;
use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait, DbErr, EntityTrait, QueryFilter, QueryResult,
    sea_query::{Expr, ExprTrait, IntoCondition, Query, SelectStatement},
};

use crate::{
    db::{Connection, Transaction},
    entities::{
        content_type, group_permissions, permission, user, user_groups, user_user_permissions,
    },
};

/// Django's default permissions of a model, in its order.
const ACTIONS: [&str; 4] = ["add", "change", "delete", "view"];

/// The permissions of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permissions {
    /// All permissions.
    All,
    /// These permissions, as `polls_app.change_question`.
    Some(BTreeSet<String>),
}

impl Permissions {
    /// Loads the permissions of a user. Superusers have all, inactive users none.
    ///
    /// # Errors
    /// When the database cannot be reached or the query fails.
    pub async fn load(db: Connection<'_>, user: &user::Model) -> Result<Self, DbErr> {
        if !user.is_active {
            return Ok(Self::Some(BTreeSet::new()));
        }
        if user.is_superuser {
            return Ok(Self::All);
        }
        let own = Query::select()
            .column(user_user_permissions::Column::PermissionId)
            .from(user_user_permissions::Entity)
            .and_where(user_user_permissions::COLUMN.user_id.eq(user.id))
            .take();
        let of_groups = Query::select()
            .column((
                group_permissions::Entity,
                group_permissions::Column::PermissionId,
            ))
            .from(group_permissions::Entity)
            .inner_join(
                user_groups::Entity,
                Expr::col((user_groups::Entity, user_groups::Column::GroupId)).equals((
                    group_permissions::Entity,
                    group_permissions::Column::GroupId,
                )),
            )
            .and_where(user_groups::COLUMN.user_id.eq(user.id))
            .take();
        let id = (permission::Entity, permission::Column::Id);
        let either = Expr::col(id)
            .in_subquery(own)
            .or(Expr::col(id).in_subquery(of_groups));
        Ok(Self::Some(named(db, either).await?.into_values().collect()))
    }

    /// Whether a permission is included.
    pub fn contains(&self, permission: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(permission),
        }
    }
}

/// The permissions that a user does not have, by id and as `polls_app.change_question`; `None` for a user who has all.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn missing(
    db: Connection<'_>,
    user: &Permissions,
) -> Result<Option<std::collections::BTreeMap<i32, String>>, DbErr> {
    if *user == Permissions::All {
        return Ok(None);
    }
    let mut all = named(db, sea_orm::Condition::all()).await?;
    all.retain(|_, name| !user.contains(name));
    Ok(Some(all))
}

/// The permissions that match a condition, by id and as `polls_app.change_question`.
///
/// # Errors
/// When the database cannot be reached or the query fails.
pub async fn named(
    db: Connection<'_>,
    condition: impl IntoCondition,
) -> Result<std::collections::BTreeMap<i32, String>, DbErr> {
    let rows = db.query_all(joined().cond_where(condition)).await?;
    let name = |row: &QueryResult| {
        let (app, codename): (String, String) =
            (row.try_get("", "app_label")?, row.try_get("", "codename")?);
        Ok((row.try_get("", "id")?, format!("{app}.{codename}")))
    };
    rows.iter().map(name).collect()
}

/// The columns of a permission and of its content type.
pub fn joined() -> SelectStatement {
    use content_type::Column::{AppLabel, Id as TypeId, Model as ModelName};
    use permission::Column::{Codename, ContentTypeId, Id, Name};
    Query::select()
        .columns([Id, Name, Codename].map(|column| (permission::Entity, column)))
        .columns([AppLabel, ModelName].map(|column| (content_type::Entity, column)))
        .from(permission::Entity)
        .inner_join(
            content_type::Entity,
            Expr::col((content_type::Entity, TypeId)).equals((permission::Entity, ContentTypeId)),
        )
        .take()
}

/// Creates the missing default permissions of these models. Models without a content type get none.
///
/// # Errors
/// When the database cannot be reached or written to.
pub async fn create_missing(
    tx: &Transaction,
    models: impl Iterator<Item = &Model>,
) -> Result<(), DbErr> {
    for model in models {
        let content_type = content_type::Entity::find()
            .filter(content_type::COLUMN.app_label.eq(model.app))
            .filter(content_type::COLUMN.model.eq(model.model_name()));
        let Some(content_type) = content_type.one(tx).await? else {
            continue;
        };
        let of_type = permission::COLUMN.content_type_id.eq(content_type.id);
        let present = permission::Entity::find().filter(of_type).all(tx).await?;
        for action in ACTIONS {
            let codename = format!("{action}_{}", model.model_name());
            if present
                .iter()
                .any(|permission| permission.codename == codename)
            {
                continue;
            }
            let row = permission::ActiveModel {
                name: Set(format!("Can {action} {}", model.verbose_name)),
                content_type_id: Set(content_type.id),
                codename: Set(codename),
                ..permission::ActiveModel::default()
            };
            permission::Entity::insert(row)
                .exec_without_returning(tx)
                .await?;
        }
    }
    Ok(())
}
