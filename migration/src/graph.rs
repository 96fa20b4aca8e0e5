//! Which migration needs which, and the orders that follow; the order among equals is Django's
//! (`django/db/migrations/graph.py`), so that both apply the same migrations in the same sequence.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Key, MIGRATIONS, Migration};

/// All migrations with what they depend on and what depends on them.
#[derive(Debug)]
pub struct Graph {
    migrations: BTreeMap<Key, &'static Migration>,
    children: BTreeMap<Key, BTreeSet<Key>>,
}

/// The answer to a search by the beginning of a name.
#[derive(Debug)]
pub enum Lookup {
    /// The one migration that fits.
    Found(&'static Migration),
    /// None fits.
    None,
    /// More than one fits.
    Ambiguous,
}

impl Graph {
    /// The graph of [`MIGRATIONS`].
    ///
    /// # Panics
    /// When a migration depends on one that does not exist: a mistake in a migration, which the tests find.
    pub fn new() -> Self {
        let all = MIGRATIONS.iter().copied().flatten();
        let migrations: BTreeMap<_, _> =
            all.map(|migration| (migration.key(), migration)).collect();
        let mut children: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
        for (key, migration) in &migrations {
            for dependency in migration.dependencies {
                assert!(
                    migrations.contains_key(dependency),
                    "{migration} depends on {dependency:?}, which does not exist"
                );
                children.entry(*dependency).or_default().insert(*key);
            }
        }
        Self {
            migrations,
            children,
        }
    }

    /// The migration of that app and name.
    pub fn get(&self, app: &str, name: &str) -> Option<&'static Migration> {
        self.of_app(app).find(|migration| migration.name == name)
    }

    /// The migrations of an app in the order of their names.
    pub fn of_app(&self, app: &str) -> impl Iterator<Item = &'static Migration> {
        self.migrations
            .values()
            .copied()
            .filter(move |migration| migration.app == app)
    }

    /// The migration of an app whose name begins with `prefix`.
    pub fn find(&self, app: &str, prefix: &str) -> Lookup {
        let mut matches = self
            .of_app(app)
            .filter(|migration| migration.name.starts_with(prefix));
        match (matches.next(), matches.next()) {
            (Some(found), None) => Lookup::Found(found),
            (None, _) => Lookup::None,
            (Some(_), Some(_)) => Lookup::Ambiguous,
        }
    }

    /// The last migration of each app, or of the one named.
    pub fn leaves(&self, app: Option<&str>) -> Vec<&'static Migration> {
        self.ends(app, |key| {
            self.children(key).all(|(child_app, _)| child_app != key.0)
        })
    }

    /// The first migrations of an app.
    pub fn roots(&self, app: &str) -> Vec<&'static Migration> {
        self.ends(Some(app), |key| {
            self.parents(key).all(|(parent_app, _)| parent_app != key.0)
        })
    }

    fn ends(&self, app: Option<&str>, is_end: impl Fn(Key) -> bool) -> Vec<&'static Migration> {
        let in_app = |migration: &&Migration| app.is_none_or(|app| migration.app == app);
        self.migrations
            .values()
            .copied()
            .filter(in_app)
            .filter(|migration| is_end(migration.key()))
            .collect()
    }

    /// What `key` depends on directly.
    pub fn parents(&self, key: Key) -> impl DoubleEndedIterator<Item = Key> {
        let sorted: BTreeSet<Key> = self.migrations[&key].dependencies.iter().copied().collect();
        sorted.into_iter()
    }

    /// What depends on `key` directly.
    pub fn children(&self, key: Key) -> impl DoubleEndedIterator<Item = Key> {
        self.children.get(&key).into_iter().flatten().copied()
    }

    /// All that has to be applied to have `key`, itself included and last.
    pub fn forwards_plan(&self, key: Key) -> Vec<&'static Migration> {
        self.walk(key, &|key| self.parents(key).rev().collect())
    }

    /// All that has to be unapplied to be rid of `key`, itself included and last.
    pub fn backwards_plan(&self, key: Key) -> Vec<&'static Migration> {
        self.walk(key, &|key| self.children(key).rev().collect())
    }

    /// Every migration, in the order in which an empty database gets them.
    pub fn full_plan(&self) -> Vec<&'static Migration> {
        let mut plan = Vec::new();
        let mut seen = BTreeSet::new();
        for leaf in self.leaves(None) {
            plan.extend(
                self.forwards_plan(leaf.key())
                    .into_iter()
                    .filter(|migration| seen.insert(migration.key())),
            );
        }
        plan
    }

    /// Depth first, each after those that `next` gives for it.
    fn walk(&self, key: Key, next: &dyn Fn(Key) -> Vec<Key>) -> Vec<&'static Migration> {
        fn visit(
            key: Key,
            next: &dyn Fn(Key) -> Vec<Key>,
            seen: &mut BTreeSet<Key>,
            order: &mut Vec<Key>,
        ) {
            if seen.insert(key) {
                for neighbour in next(key) {
                    visit(neighbour, next, seen, order);
                }
                order.push(key);
            }
        }
        let mut order = Vec::new();
        visit(key, next, &mut BTreeSet::new(), &mut order);
        order.iter().map(|key| self.migrations[key]).collect()
    }
}

impl std::default::Default for Graph {
    fn default() -> Self {
        Self::new()
    }
}
