//! `django_admin_log`.

use sea_orm::entity::prelude::*;

/// An entry of the admin's log: one addition, change or deletion of an object.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "django_admin_log")]
pub struct Model {
    /// The primary key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// The time of the action.
    pub action_time: DateTimeUtc,
    /// The primary key of the object, as text.
    #[sea_orm(column_type = "Text", nullable)]
    pub object_id: Option<String>,
    /// The object's representation at the time (Django's `str(object)`).
    #[sea_orm(column_type = "String(StringLen::N(200))")]
    pub object_repr: String,
    /// 1 addition, 2 change, 3 deletion.
    pub action_flag: i16,
    /// The changed fields, as Django's JSON or plain text.
    #[sea_orm(column_type = "Text")]
    pub change_message: String,
    /// The key of the object's content type.
    pub content_type_id: Option<i32>,
    /// The key of the user who performed the action.
    pub user_id: i32,
    /// The related content type.
    #[sea_orm(belongs_to, from = "content_type_id", to = "id")]
    pub content_type: BelongsTo<Option<super::content_type::Entity>>,
    /// The related user.
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
