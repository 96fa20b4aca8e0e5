//! Users and groups in the admin. Beyond Django: who manages users can give nobody more rights than they have
//! themselves, and cannot change those who have more.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use minijinja::{context, value::Serde};
use poem::{
    Request, Response, Route, handler,
    http::{Method, StatusCode},
    web::Data,
};
use sea_orm::{
    DbErr, EntityTrait, QueryFilter, QueryResult, Value,
    sea_query::{Expr, ExprTrait, Order, Query, SelectStatement},
};
use unicode_normalization::UnicodeNormalization;

use super::{
    hashers,
    login::{User, keep_session},
    permissions::{self, Permissions},
    users,
    validators::{KnownOfUser, email_errors, help_texts, new_password_errors, username_errors},
};
use crate::{
    admin::{
        Action, AdminPage, AdminSite, ChangeMessage, Changes, Choices, Crumb, Dependent,
        Description, FieldOptions, Fieldset, Log, ManyToMany, ModelAdmin, Rules, Values,
        VirtualKind,
    },
    app::App,
    contenttypes::app_name,
    db::{Connection, Transaction},
    entities::{content_type, group, group_permissions, permission, user},
    error::{AppError, Result},
    web::{
        csrf,
        form::Form,
        messages::Level,
        routing::{get_and_post, redirect},
    },
};

const REQUIRED: &str = "This field is required.";
const RAISES: &str = "You cannot give a right that you do not have yourself: ";

/// Shows users and groups.
pub fn register(site: &mut AdminSite) {
    site.register(ModelAdmin::<group::Entity> {
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
        }],
        search_fields: &["name"],
        ordering: &["name"],
        rules: Box::new(GroupRules),
        ..ModelAdmin::new("auth", ("group", "groups"), |group: &group::Model| {
            group.name.clone()
        })
    });
    site.register(ModelAdmin::<user::Entity> {
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
        }],
        list_display: &["username", "email", "first_name", "last_name", "is_staff"],
        list_filter: &["is_staff", "is_superuser", "is_active", "groups"],
        search_fields: &["username", "first_name", "last_name", "email"],
        ordering: &["username"],
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
        ..ModelAdmin::new("auth", ("user", "users"), |user: &user::Model| user.username.clone())
    });
}

/// The addresses for users beyond those of every model.
pub fn routes(route: Route) -> Route {
    get_and_post(route, "/admin/auth/user/:id/password/", change_password)
}

fn user_fields() -> Vec<FieldOptions> {
    let new = FieldOptions::new;
    vec![
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
    let (app, model, name) = (app_name(&text("app_label")?), text("model")?, text("name")?);
    // The name ends with what a person calls the model.
    let kind = name.splitn(3, ' ').nth(2).unwrap_or(&model);
    Ok(format!("{app} | {kind} | {name}"))
}

fn all_groups() -> SelectStatement {
    Query::select()
        .columns([group::Column::Id, group::Column::Name])
        .from(group::Entity)
        .order_by(group::Column::Name, Order::Asc)
        .take()
}

/// The names of permissions that somebody has not, of those with these keys.
async fn beyond(db: Connection<'_>, user: &User, keys: &[i32]) -> Result<BTreeSet<String>, DbErr> {
    if user.permissions == Permissions::All || keys.is_empty() {
        return Ok(BTreeSet::new());
    }
    let condition =
        Expr::col((permission::Entity, permission::Column::Id)).is_in(keys.iter().copied());
    let named = permissions::named(db, condition).await?;
    Ok(named
        .into_values()
        .filter(|name| !user.has_perm(name))
        .collect())
}

/// The permissions of groups, by key.
async fn of_groups(db: Connection<'_>, groups: &[i32]) -> Result<Vec<i32>, DbErr> {
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

fn raises(names: &BTreeSet<String>) -> String {
    let some: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
    let more = if names.len() > some.len() {
        ", …"
    } else {
        "."
    };
    format!("{RAISES}{}{more}", some.join(", "))
}

struct GroupRules;

#[async_trait]
impl Rules for GroupRules {
    /// A group may have what its editor has; what it had before may stay.
    async fn validate(
        &self,
        tx: &Transaction,
        user: &User,
        id: Option<i32>,
        changes: &mut Changes,
    ) -> Result<(), DbErr> {
        let db = Connection::Transaction(tx);
        let before = match id {
            Some(id) => of_groups(db, &[id]).await?,
            None => Vec::new(),
        };
        let chosen = changes
            .chosen
            .get("permissions")
            .cloned()
            .unwrap_or_default();
        let new: Vec<i32> = chosen
            .into_iter()
            .filter(|key| !before.contains(key))
            .collect();
        let missing = beyond(db, user, &new).await?;
        if !missing.is_empty() {
            changes.refuse("permissions", raises(&missing));
        }
        Ok(())
    }
}

struct UserRules;

#[async_trait]
impl Rules for UserRules {
    /// Whoever has no more rights than oneself; so much is everybody's own account.
    async fn may_change(&self, db: Connection<'_>, user: &User, id: i32) -> Result<bool, DbErr> {
        if user.permissions == Permissions::All {
            return Ok(true);
        }
        let Some(target) = user::Entity::find_by_id(id).one(&db).await? else {
            return Ok(true);
        };
        // An account that is not active now would have its rights again as soon as it is.
        let awake = user::Model {
            is_active: true,
            ..target
        };
        Ok(match Permissions::of(db, &awake).await? {
            Permissions::All => false,
            Permissions::Some(names) => names.iter().all(|name| user.has_perm(name)),
        })
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
            && !self.may_change(db, user, id).await?
        {
            changes.refuse(
                "username",
                "This user has rights that you do not have, and so you cannot change them.",
            );
        }
        let was_superuser = target.as_ref().is_some_and(|target| target.is_superuser);
        if changes.is_true("is_superuser") && !was_superuser {
            changes.refuse(
                "is_superuser",
                "Only a superuser can make somebody a superuser.",
            );
        }
        if let Some(keys) = changes.chosen.get("user_permissions") {
            let missing = beyond(db, user, keys).await?;
            if !missing.is_empty() {
                changes.refuse("user_permissions", raises(&missing));
            }
        }
        if let Some(groups) = changes.chosen.get("groups") {
            let missing = beyond(db, user, &of_groups(db, groups).await?).await?;
            if !missing.is_empty() {
                changes.refuse("groups", raises(&missing));
            }
        }
        Ok(())
    }

    async fn prepare(&self, app: &App, changes: &mut Changes) -> Result<()> {
        let encoded = if changes.text("usable_password") == "false" {
            hashers::unusable_password()
        } else {
            let (new, again) = (
                changes.text("password1").to_owned(),
                changes.text("password2").to_owned(),
            );
            for (name, text) in [("password1", &new), ("password2", &again)] {
                if text.is_empty() {
                    changes.refuse(name, REQUIRED);
                }
            }
            if !new.is_empty() && !again.is_empty() {
                let username = changes.text("username").to_owned();
                let known = KnownOfUser {
                    username: &username,
                    ..KnownOfUser::default()
                };
                for error in new_password_errors(&new, &again, &known) {
                    changes.refuse("password2", error);
                }
            }
            // A hash takes a while: not for a form that will come back.
            if !changes.errors.is_empty() {
                return Ok(());
            }
            app.hashing.make_password(new).await?
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

/// Sets the password of a user, or takes it away.
#[handler]
async fn change_password(
    page: AdminPage,
    Data(app): Data<&Arc<App>>,
    request: &Request,
    form: Form,
) -> Result<Response> {
    let model = app.admin.find("auth", "user").ok_or(AppError::NotFound)?;
    let id: i32 = request
        .raw_path_param("id")
        .and_then(|id| id.parse().ok())
        .ok_or(AppError::NotFound)?;
    let staff = page.staff.user();
    page.staff.require(page.staff.may("change", model))?;
    let db = Connection::Database(app.db.write());
    let target = user::Entity::find_by_id(id)
        .one(app.db.write())
        .await?
        .ok_or(AppError::NotFound)?;
    page.staff
        .require(model.rules.may_change(db, staff, id).await?)?;
    let has_password = hashers::is_usable(&target.password);
    let mut errors: [Vec<String>; 2] = Default::default();
    if *request.method() == Method::POST {
        let text = |name| form.get(name).unwrap_or_default().to_owned();
        let (new, again) = (text("password1"), text("password2"));
        let takes_away = has_password && form.has("unset-password");
        if !takes_away {
            for (text, errors) in [&new, &again].into_iter().zip(&mut errors) {
                if text.is_empty() {
                    errors.push(REQUIRED.to_owned());
                }
            }
            if !new.is_empty() && !again.is_empty() {
                errors[1] = new_password_errors(&new, &again, &(&target).into());
            }
        }
        if errors.iter().all(Vec::is_empty) {
            let encoded = if takes_away {
                hashers::unusable_password()
            } else {
                app.hashing.make_password(new).await?
            };
            let tx = app.db.write().begin().await?;
            // Their rights may have grown while the hash was made.
            page.staff.require(
                model
                    .rules
                    .may_change(Connection::Transaction(&tx), staff, id)
                    .await?,
            )?;
            users::set_password(&tx, id, encoded.clone()).await?;
            let mut message = ChangeMessage::default();
            message.changed(&["Password".to_owned()]);
            let log = Log {
                user_id: staff.row.id,
                model,
                now: app.now(),
            };
            log.write(
                &tx,
                Action::Change,
                &[(id, &target.username)],
                &message.stored(),
            )
            .await?;
            tx.commit().await?;
            let told = if takes_away {
                "Password-based authentication was disabled."
            } else {
                "Password changed successfully."
            };
            page.messages.add(Level::Success, told);
            let mut response = redirect(StatusCode::FOUND, &model.object_url(id, "change"));
            if staff.row.id == id {
                keep_session(app, &page.session, &encoded);
                csrf::rotate(&mut response, app.now());
            }
            return Ok(response);
        }
    }
    let mut way = Crumb::to_changelist(model);
    way.push(Crumb::link(
        target.username.clone(),
        model.object_url(id, "change"),
    ));
    way.push(Crumb::here(if has_password {
        "Change password"
    } else {
        "Set password"
    }));
    let has_errors = errors.iter().any(|errors| !errors.is_empty());
    let [new_errors, again_errors] = errors;
    let title = format!(
        "{} password: {}",
        if has_password { "Change" } else { "Set" },
        target.username
    );
    page.render(
        "admin/auth/user/change_password.html",
        &title,
        way,
        context! {
            username => target.username,
            has_password,
            new_errors => Serde(new_errors),
            again_errors => Serde(again_errors),
            has_errors,
            rules => help_texts(),
        },
    )
}
