//! Which migrations to apply or unapply, and in which order, as Django's `MigrationExecutor.migration_plan` decides.

use std::collections::BTreeSet;

use migration::{Direction, Graph, Key, Migration};

use super::Applied;

/// Where to go.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// To the state right after this migration.
    Migration(&'static Migration),
    /// To the state before the first migration of this app.
    Zero(&'static str),
}

/// What to do, in order.
pub type Plan = Vec<(&'static Migration, Direction)>;

/// The way from what is applied to the targets.
pub fn plan(graph: &Graph, applied: &Applied, targets: &[Target]) -> Plan {
    let mut done: BTreeSet<Key> = graph
        .full_plan()
        .into_iter()
        .filter(|m| applied.contains(m))
        .map(Migration::key)
        .collect();
    let mut plan = Plan::new();
    let unapply = |key: Key, done: &mut BTreeSet<Key>, plan: &mut Plan| {
        let dependents = graph
            .backwards_plan(key)
            .into_iter()
            .filter(|migration| done.remove(&migration.key()));
        plan.extend(dependents.map(|migration| (migration, Direction::Backwards)));
    };
    for target in targets {
        match *target {
            Target::Zero(app) => graph
                .roots(app)
                .iter()
                .for_each(|root| unapply(root.key(), &mut done, &mut plan)),
            // Not back to the target itself, which may be what other apps depend on: only what follows in its app.
            Target::Migration(target) if done.contains(&target.key()) => {
                for child in graph
                    .children(target.key())
                    .filter(|(app, _)| *app == target.app)
                {
                    unapply(child, &mut done, &mut plan);
                }
            }
            Target::Migration(target) => {
                let needed = graph
                    .forwards_plan(target.key())
                    .into_iter()
                    .filter(|migration| done.insert(migration.key()));
                plan.extend(needed.map(|migration| (migration, Direction::Forwards)));
            }
        }
    }
    plan
}

/// A migration that is applied although one that it depends on is not.
pub fn inconsistency(
    graph: &Graph,
    applied: &Applied,
) -> Option<(&'static Migration, &'static Migration)> {
    let all = graph.full_plan();
    let parents = |migration: &&'static Migration| {
        let migration = *migration;
        migration
            .dependencies
            .iter()
            .filter_map(|(app, name)| graph.get(app, name))
            .map(move |parent| (migration, parent))
    };
    let mut edges = all
        .iter()
        .filter(|migration| applied.contains(migration))
        .flat_map(parents);
    edges.find(|(_, parent)| !applied.contains(parent))
}
