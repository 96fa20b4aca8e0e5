//! `django_admin_log`.

use sea_orm::entity::prelude::*;

/// Something that was done in the admin.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "django_admin_log")]
pub struct Model {
    /// Key.
    #[sea_orm(primary_key)]
    pub id: i32,
    /// When.
    pub action_time: DateTimeUtc,
    /// The key of the object.
    #[sea_orm(column_type = "Text", nullable)]
    pub object_id: Option<String>,
    /// The object in words.
    #[sea_orm(column_type = "String(StringLen::N(200))")]
    pub object_repr: String,
    /// 1 addition, 2 change, 3 deletion.
    pub action_flag: i16,
    /// What changed, as JSON or plain text.
    #[sea_orm(column_type = "Text")]
    pub change_message: String,
    /// The kind of object.
    pub content_type_id: Option<i32>,
    /// Who did it.
    pub user_id: i32,
    /// The row itself.
    #[sea_orm(belongs_to, from = "content_type_id", to = "id")]
    pub content_type: BelongsTo<Option<super::content_type::Entity>>,
    /// The row itself.
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}
