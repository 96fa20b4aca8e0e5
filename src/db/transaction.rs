//! A transaction, without which nothing is changed.

use async_trait::async_trait;
use migration::SchemaManager;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
};

use super::{health::Health, times::prepare};

/// An open transaction. Dropped without a commit, it is undone.
#[derive(Debug)]
pub struct Transaction {
    transaction: DatabaseTransaction,
    health: Health,
}

impl Transaction {
    /// A transaction that has begun on a connection of this health.
    pub(super) fn new(transaction: DatabaseTransaction, health: Health) -> Self {
        Self {
            transaction,
            health,
        }
    }

    /// Makes the changes last.
    ///
    /// # Errors
    /// When they break a deferred constraint, or the connection is gone, in which case they may have been made.
    pub async fn commit(self) -> Result<(), DbErr> {
        let Self {
            transaction,
            health,
        } = self;
        let committed = health.watch(transaction.commit()).await;
        match committed {
            Ok(()) => health.storage_recovered(),
            // Not used again, unless it has been given back already and found to be in order.
            Err(_) => health.discard_next_released(),
        }
        committed
    }

    /// For running migrations inside the transaction.
    pub fn schema_manager(&self) -> SchemaManager<'_> {
        SchemaManager::new(&self.transaction)
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.transaction.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.health
            .watch(self.transaction.execute_raw(prepare(statement)?))
            .await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.health
            .watch(self.transaction.execute_unprepared(sql))
            .await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.health
            .watch(self.transaction.query_one_raw(prepare(statement)?))
            .await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.health
            .watch(self.transaction.query_all_raw(prepare(statement)?))
            .await
    }
}
