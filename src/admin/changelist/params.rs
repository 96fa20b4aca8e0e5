//! The parameters of a changelist's query string.

use crate::web::form::Form;

/// The parameters that are no lookups.
const CONTROLS: [&str; 10] = [
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
        pairs.filter(|(name, _)| !CONTROLS.contains(name))
    }

    /// The value of a parameter; of several, the last.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The query string with some parameters set and others removed, for the first page.
    pub fn with(&self, set: &[(&str, &str)], without: &[&str]) -> String {
        let is_kept = |name: &str| {
            !["p", "e"].contains(&name)
                && !without.contains(&name)
                && !set.iter().any(|(other, _)| *other == name)
        };
        let kept = self.0.iter().filter(|(name, _)| is_kept(name));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let text = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept.chain(set.iter().copied()))
            .finish();
        format!("?{text}")
    }

    /// The whole query string, for the parameter `_changelist_filters`.
    pub fn text(&self) -> String {
        let pairs = self
            .0
            .iter()
            .filter(|(name, _)| !["e", "_changelist_filters"].contains(&name.as_str()));
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
    }

    /// All parameters but some, for hidden fields.
    pub fn without<'a>(
        &'a self,
        names: &'a [&'a str],
    ) -> impl Iterator<Item = &'a (String, String)> {
        self.0
            .iter()
            .filter(move |(name, _)| !names.contains(&name.as_str()))
    }
}
