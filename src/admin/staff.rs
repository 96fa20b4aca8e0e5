//! The user of a request to the admin, and their permissions.

use std::sync::Arc;

use poem::{FromRequest, Request, RequestBody, Result};

use super::model::Model;
use crate::{
    auth::login::User,
    error::{self, AppError},
};

/// The staff user of a request. Its extractor responds with 403 to other users.
#[derive(Debug, Clone)]
pub struct Staff(Arc<User>);

/// The user of a request, who need not be staff; `None` if not logged in.
#[derive(Debug, Clone)]
pub struct CurrentUser(pub Option<Arc<User>>);

impl Staff {
    /// The user.
    pub fn user(&self) -> &User {
        &self.0
    }

    /// Whether the user has a permission for a model; `action` is `add`, `change`, `delete` or `view`.
    pub fn may(&self, action: &str, model: &Model) -> bool {
        self.0.has_perm(&model.permission(action))
    }

    /// Whether the user may view a model's objects, which the permission to change includes.
    pub fn may_view(&self, model: &Model) -> bool {
        self.may("view", model) || self.may("change", model)
    }

    /// Returns an error unless `is_allowed`.
    ///
    /// # Errors
    /// [`AppError::PermissionDenied`].
    pub fn require(&self, is_allowed: bool) -> error::Result<()> {
        if is_allowed {
            Ok(())
        } else {
            Err(AppError::PermissionDenied)
        }
    }
}

impl<'a> FromRequest<'a> for Staff {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> Result<Self> {
        let user = request
            .data::<CurrentUser>()
            .and_then(|current| current.0.clone());
        let staff = user.filter(|user| user.row.is_staff);
        Ok(Self(staff.ok_or(AppError::PermissionDenied)?))
    }
}
