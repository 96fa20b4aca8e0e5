//! The parameters of a changelist's query string.

use crate::web::form::Form;

/// The parameters that are not lookups (Django's `IGNORED_PARAMS`).
const IGNORED: [&str; 10] = [
    "q",
    "o",
    "p",
    "all",
    "e",
    "scope",
    "_facets",
    "_popup",
    "_to_field",
    "_changelist_filters",
];

/// The parameters of a changelist's query string, in its order.
#[derive(Debug, Clone, Default)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// The parameters of a query string.
    pub fn new(query: &Form) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self(query.iter().map(owned).collect())
    }

    /// The lookups: names and values.
    pub fn lookups(&self) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        pairs.filter(|(name, _)| !IGNORED.contains(name))
    }

    /// The value of a parameter; of several, the last.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The query string with the parameters `set` replaced and `without` removed, for the first page; starts with `?`.
    pub fn with(&self, set: &[(&str, &str)], without: &[&str]) -> String {
        let is_preserved = |name: &str| {
            !["p", "e"].contains(&name)
                && !without.contains(&name)
                && !set.iter().any(|(other, _)| *other == name)
        };
        let preserved = self.0.iter().filter(|(name, _)| is_preserved(name));
        let preserved = preserved.map(|(name, value)| (name.as_str(), value.as_str()));
        let text = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(preserved.chain(set.iter().copied()))
            .finish();
        format!("?{text}")
    }

    /// The query string for the parameter `_changelist_filters`, without `?`.
    pub fn text(&self) -> String {
        let pairs = self
            .0
            .iter()
            .filter(|(name, _)| !["e", "_changelist_filters"].contains(&name.as_str()));
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
    }

    /// All parameters except `names`, for hidden inputs.
    pub fn without<'a>(
        &'a self,
        names: &'a [&'a str],
    ) -> impl Iterator<Item = &'a (String, String)> {
        self.0
            .iter()
            .filter(move |(name, _)| !names.contains(&name.as_str()))
    }
}
