//! The dependency graph of the migrations. Its topological order is that of Django's `django/db/migrations/graph.py`, also among
//! independent migrations, so that both apply them in the same sequence.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Key, MIGRATIONS, Migration};

/// All migrations, with their dependencies (parents) and dependents (children).
#[derive(Debug)]
pub struct Graph {
    migrations: BTreeMap<Key, &'static Migration>,
    children: BTreeMap<Key, BTreeSet<Key>>,
}

/// The result of a search by the prefix of a name.
#[derive(Debug)]
pub enum Lookup {
    /// The only migration that matches.
    Found(&'static Migration),
    /// No migration matches.
    None,
    /// Several migrations match.
    Ambiguous,
}

impl Graph {
    /// The graph of [`MIGRATIONS`].
    ///
    /// # Panics
    /// When a migration depends on one that does not exist: an error in a migration, which the tests find.
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

    /// The migration with this app and name.
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

    /// The migrations without children in their app (Django's `leaf_nodes`): of one app, or of all if `app` is `None`.
    pub fn leaves(&self, app: Option<&str>) -> Vec<&'static Migration> {
        self.ends(app, |key| {
            self.children(key).all(|(child_app, _)| child_app != key.0)
        })
    }

    /// The migrations of an app without parents in it (Django's `root_nodes`).
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

    /// The direct dependencies of `key`, sorted.
    pub fn parents(&self, key: Key) -> impl DoubleEndedIterator<Item = Key> {
        let sorted: BTreeSet<Key> = self.migrations[&key].dependencies.iter().copied().collect();
        sorted.into_iter()
    }

    /// The direct dependents of `key`, sorted.
    pub fn children(&self, key: Key) -> impl DoubleEndedIterator<Item = Key> {
        self.children.get(&key).into_iter().flatten().copied()
    }

    /// The migrations to apply for `key`, in order: its dependencies, and `key` last.
    pub fn forwards_plan(&self, key: Key) -> Vec<&'static Migration> {
        self.depth_first(key, &|key| self.parents(key).rev().collect())
    }

    /// The migrations to unapply for `key`, in order: its dependents, and `key` last.
    pub fn backwards_plan(&self, key: Key) -> Vec<&'static Migration> {
        self.depth_first(key, &|key| self.children(key).rev().collect())
    }

    /// All migrations, in the order of application to an empty database.
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

    /// Depth-first traversal in post-order: each migration after its neighbours, which `next` returns.
    fn depth_first(&self, key: Key, next: &dyn Fn(Key) -> Vec<Key>) -> Vec<&'static Migration> {
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
