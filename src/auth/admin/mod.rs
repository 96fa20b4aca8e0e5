//! Registers users and groups with the admin.

mod password;
mod rules;

use poem::Route;
use sea_orm::{
    DbErr, QueryResult, Value,
    sea_query::{Order, Query, SelectStatement},
};
use unicode_normalization::UnicodeNormalization;

use self::rules::{GroupRules, UserRules};
use super::{
    permissions,
    validators::{email_errors, username_errors},
};
use crate::{
    admin::{
        AdminSite, Choices, Dependent, FieldOptions, Fieldset, ManyToMany, ModelAdmin, VirtualKind,
    },
    contenttypes::app_verbose_name,
    entities::{content_type, group, permission, user},
    web::routing::get_and_post,
};

/// Registers the models `Group` and `User`.
pub fn register(site: &mut AdminSite) {
    site.register(ModelAdmin {
        many_to_many: vec![ManyToMany {
            name: "permissions",
            verbose_name: "permissions",
            help_text: "",
            through: ("auth_group_permissions", "group_id", "permission_id"),
            relationship: (
                "group-permission relationship",
                "group-permission relationships",
            ),
            choices: PERMISSIONS,
        }],
        dependents: vec![Dependent {
            table: ("auth_user_groups", "group_id"),
            verbose_name: "user-group relationship",
            verbose_name_plural: "user-group relationships",
            label_column: None,
            counter: None,
        }],
        search_fields: &["name"],
        ordering: &["name"],
        rules: Box::new(GroupRules),
        ..ModelAdmin::new::<group::Entity>("auth", ("group", "groups"), |group: &group::Model| {
            group.name.clone()
        })
    });
    site.register(ModelAdmin {
        fields: user_fields(),
        many_to_many: vec![
            ManyToMany {
                name: "groups",
                verbose_name: "groups",
                help_text: "The groups this user belongs to. A user will get all permissions granted to each of their groups.",
                through: ("auth_user_groups", "user_id", "group_id"),
                relationship: ("user-group relationship", "user-group relationships"),
                choices: Choices { query: all_groups, label: |row| row.try_get("", "name") },
            },
            ManyToMany {
                name: "user_permissions",
                verbose_name: "user permissions",
                help_text: "Specific permissions for this user.",
                through: ("auth_user_user_permissions", "user_id", "permission_id"),
                relationship: ("user-permission relationship", "user-permission relationships"),
                choices: PERMISSIONS,
            },
        ],
        dependents: vec![Dependent {
            table: ("django_admin_log", "user_id"),
            verbose_name: "log entry",
            verbose_name_plural: "log entries",
            label_column: Some("object_repr"),
            counter: None,
        }],
        list_display: &["username", "email", "first_name", "last_name", "is_staff"],
        list_filter: &["is_staff", "is_superuser", "is_active", "groups"],
        search_fields: &["username", "first_name", "last_name", "email"],
        ordering: &["username"],
        // Each login updates it.
        readonly_fields: &["last_login"],
        fieldsets: vec![
            Fieldset::new(None, &["username", "password_info"]),
            Fieldset::new(Some("Personal info"), &["first_name", "last_name", "email"]),
            Fieldset::new(
                Some("Permissions"),
                &["is_active", "is_staff", "is_superuser", "groups", "user_permissions"],
            ),
            Fieldset::new(Some("Important dates"), &["last_login", "date_joined"]),
        ],
        add_fieldsets: Some(vec![Fieldset {
            description: "After you’ve created a user, you’ll be able to edit more user options.",
            ..Fieldset::new(None, &["username", "usable_password", "password1", "password2"])
        }]),
        rules: Box::new(UserRules),
        ..ModelAdmin::new::<user::Entity>("auth", ("user", "users"), |user| user.username.clone())
    });
}

/// Adds the route of a user's password page; the routes that all models have are the admin's.
pub fn routes(route: Route) -> Route {
    get_and_post(
        route,
        "/admin/auth/user/:id/password/",
        password::change_password,
    )
}

fn user_fields() -> Vec<FieldOptions> {
    let new = FieldOptions::new;
    vec![
        FieldOptions {
            is_secret: true,
            ..new("password")
        },
        FieldOptions {
            help_text: "Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.",
            validate: Some(username_errors),
            normalize: Some(|name| name.nfkc().collect()),
            unique_message: Some("A user with that username already exists."),
            ..new("username")
        },
        FieldOptions {
            blank: true,
            ..new("first_name")
        },
        FieldOptions {
            blank: true,
            ..new("last_name")
        },
        FieldOptions {
            verbose_name: Some("email address"),
            blank: true,
            validate: Some(email_errors),
            ..new("email")
        },
        FieldOptions {
            verbose_name: Some("active"),
            help_text: "Designates whether this user should be treated as active. Unselect this instead of deleting accounts.",
            default: Some(|_| Value::Bool(Some(true))),
            ..new("is_active")
        },
        FieldOptions {
            verbose_name: Some("staff status"),
            help_text: "Designates whether the user can log into this admin site.",
            ..new("is_staff")
        },
        FieldOptions {
            verbose_name: Some("superuser status"),
            help_text: "Designates that this user has all permissions without explicitly assigning them.",
            ..new("is_superuser")
        },
        FieldOptions {
            default: Some(|now| Value::ChronoDateTimeUtc(Some(now))),
            ..new("date_joined")
        },
        FieldOptions {
            verbose_name: Some("password"),
            help_text: "Raw passwords are not stored, so there is no way to see the user’s password.",
            virtual_kind: Some(VirtualKind::Description),
            ..new("password_info")
        },
        FieldOptions {
            verbose_name: Some("password-based authentication"),
            help_text: "Whether the user will be able to authenticate using a password or not.",
            choices: &[("true", "Enabled"), ("false", "Disabled")],
            virtual_kind: Some(VirtualKind::Radio),
            ..new("usable_password")
        },
        FieldOptions {
            verbose_name: Some("password"),
            help_text: "At least 8 characters, not only digits, not a common password, and not too similar to the username.",
            blank: true,
            virtual_kind: Some(VirtualKind::Password),
            ..new("password1")
        },
        FieldOptions {
            verbose_name: Some("password confirmation"),
            help_text: "Enter the same password as before, for verification.",
            blank: true,
            virtual_kind: Some(VirtualKind::Password),
            ..new("password2")
        },
    ]
}

const PERMISSIONS: Choices = Choices {
    query: all_permissions,
    label: permission_label,
};

fn all_permissions() -> SelectStatement {
    let mut query = permissions::joined();
    query
        .order_by(
            (content_type::Entity, content_type::Column::AppLabel),
            Order::Asc,
        )
        .order_by(
            (content_type::Entity, content_type::Column::Model),
            Order::Asc,
        )
        .order_by(
            (permission::Entity, permission::Column::Codename),
            Order::Asc,
        );
    query
}

/// `Polls_App | question | Can add question`.
fn permission_label(row: &QueryResult) -> Result<String, DbErr> {
    let text = |name| row.try_get::<String>("", name);
    let (app, model, name) = (
        app_verbose_name(&text("app_label")?),
        text("model")?,
        text("name")?,
    );
    // The name ends with the model's verbose name.
    let verbose_name = name.splitn(3, ' ').nth(2).unwrap_or(&model);
    Ok(format!("{app} | {verbose_name} | {name}"))
}

fn all_groups() -> SelectStatement {
    Query::select()
        .columns([group::Column::Id, group::Column::Name])
        .from(group::Entity)
        .order_by(group::Column::Name, Order::Asc)
        .take()
}
