//! The user of a request to the admin, and what they may do.

use std::sync::Arc;

use poem::{FromRequest, Request, RequestBody, Result};

use super::model::Model;
use crate::{
    auth::login::User,
    error::{self, AppError},
};

/// A logged-in member of staff. A view with such an argument cannot be reached by others.
#[derive(Debug, Clone)]
pub struct Staff(Arc<User>);

/// The user of a request to a page that needs no login; none if not logged in.
#[derive(Debug, Clone)]
pub struct CurrentUser(pub Option<Arc<User>>);

impl Staff {
    /// The user.
    pub fn user(&self) -> &User {
        &self.0
    }

    /// Whether they may do something with a model's objects.
    pub fn may(&self, action: &str, model: &Model) -> bool {
        self.0.has_perm(&model.permission(action))
    }

    /// Whether they may view a model's objects: the permission to change includes it.
    pub fn may_view(&self, model: &Model) -> bool {
        self.may("view", model) || self.may("change", model)
    }

    /// Refuses a user without the permission.
    ///
    /// # Errors
    /// When they have not.
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
