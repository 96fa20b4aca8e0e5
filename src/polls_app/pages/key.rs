//! Which page a request is for, and in which variant.

use poem::Request;

use crate::{
    polls_app::urls,
    web::{hosts::Origin, page::BaseContext},
};

/// A public page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PageId {
    /// The latest questions.
    Index,
    /// The question with that id.
    Detail(i32),
    /// Its results.
    Results(i32),
}

impl PageId {
    /// The page at a path in its usual form; none for `/polls/01/`, which is served like `/polls/1/`.
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_prefix(urls::INDEX)?;
        if rest.is_empty() {
            return Some(Self::Index);
        }
        let (id, rest) = rest.split_once('/')?;
        let is_usual = !id.starts_with('0') && id.bytes().all(|byte| byte.is_ascii_digit());
        let id = id.parse().ok().filter(|_| is_usual)?;
        match rest {
            "" => Some(Self::Detail(id)),
            "results/" => Some(Self::Results(id)),
            _ => None,
        }
    }
}

/// A page in one of the variants that are cached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The page.
    pub page: PageId,
    /// Its header and theme.
    base: BaseContext,
    /// The origin, which is part of absolute links; for HTTPS the security headers differ.
    origin: Origin,
    /// The choice of the vote that led to the results.
    voted: Option<i32>,
}

impl Key {
    /// The variant of a page for a request; `voted` is the choice of the vote that led to it.
    pub fn new(page: PageId, request: &Request, origin: Origin, voted: Option<i32>) -> Self {
        Self {
            page,
            voted,
            base: BaseContext::of(request),
            origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_known_by_their_paths() {
        for (path, page) in [
            ("/polls/", Some(PageId::Index)),
            ("/polls/7/", Some(PageId::Detail(7))),
            (
                "/polls/2147483647/results/",
                Some(PageId::Results(i32::MAX)),
            ),
            ("/polls", None),
            ("/polls/7", None),
            ("/polls/07/", None),
            ("/polls/+7/", None),
            ("/polls/-7/", None),
            ("/polls/2147483648/", None),
            ("/polls//", None),
            ("/polls/7/vote/", None),
            ("/polls/7/results", None),
            ("/polls/7/results/x", None),
            ("/admin/", None),
        ] {
            assert_eq!(PageId::parse(path), page, "{path}");
        }
    }
}
