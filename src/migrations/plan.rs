//! The plan of the migrations to apply or unapply, in order, as in Django's `MigrationExecutor.migration_plan`.

use std::collections::BTreeSet;

use migration::{Direction, Graph, Key, Migration};

use super::Applied;

/// The target state of one app.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// The state after this migration.
    Migration(&'static Migration),
    /// The state before the first migration of this app (`migrate APP zero`).
    Zero(&'static str),
}

/// The migrations to apply or unapply, in order.
pub type Plan = Vec<(&'static Migration, Direction)>;

/// The plan from the applied migrations to the targets.
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
            // Other apps may depend on the target, so only what follows it in its own app is unapplied, with its dependents.
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

/// An applied migration and a dependency of it that is not applied (Django's `check_consistent_history`).
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
