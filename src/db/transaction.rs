//! Transactions: the only way to change data.

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

    /// Commits it.
    ///
    /// # Errors
    /// When the changes violate a deferred constraint, or the connection is lost: the changes may have been committed then.
    pub async fn commit(self) -> Result<(), DbErr> {
        let Self {
            transaction,
            health,
        } = self;
        let committed = health.watch(transaction.commit()).await;
        match committed {
            Ok(()) => health.storage_recovered(),
            // The connection is not used again, unless it has been released and pinged already.
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
