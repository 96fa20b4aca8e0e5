//! The database of a session, for code that blocks.

use std::cell::{Cell, RefCell};

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rhai::EvalAltResult;
use sea_orm::{ConnectionTrait, DbBackend, DbErr};
use tokio::runtime::Handle;

use crate::{
    auth::{hashers, validators},
    db::{self, Database, Transaction},
    fixtures::Conversion,
};

/// The settings of a session.
#[derive(Debug, Clone, Copy)]
pub struct ShellSettings {
    /// The zone of times without an offset.
    pub zone: Tz,
    /// Rounds of PBKDF2 for new password hashes.
    pub password_iterations: u32,
}

/// An error in a script; the engine adds the place.
pub type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The database, and the transaction of the current statement, which begins with its first write.
pub struct Connection {
    db: Database,
    runtime: Handle,
    transaction: RefCell<Option<Transaction>>,
    savepoints: Cell<usize>,
    /// The settings.
    pub settings: ShellSettings,
}

impl Connection {
    /// A connection without a transaction. Has to be called in a thread of a tokio runtime.
    pub fn new(db: Database, settings: ShellSettings) -> Self {
        Self {
            db,
            runtime: Handle::current(),
            transaction: RefCell::new(None),
            savepoints: Cell::new(0),
            settings,
        }
    }

    /// The kind of database.
    pub fn backend(&self) -> DbBackend {
        self.db.get_database_backend()
    }

    /// The hash of a password.
    ///
    /// # Errors
    /// When the password could not be used at the login.
    pub fn hash(&self, password: &str) -> Result<String> {
        match validators::unusable_at_login(password) {
            Some(reason) => Err(failure(reason)),
            None => Ok(hashers::make_password(
                password,
                self.settings.password_iterations,
            )),
        }
    }

    /// How values are converted for fields.
    pub fn conversion(&self) -> Conversion {
        Conversion {
            backend: self.backend(),
            zone: self.settings.zone,
            now: now(),
            ignore_nonexistent: false,
        }
    }

    /// Reads, in the statement's transaction if it has written.
    ///
    /// # Errors
    /// Those of the query.
    pub fn read<T>(
        &self,
        query: impl AsyncFnOnce(db::Connection<'_>) -> std::result::Result<T, DbErr>,
    ) -> Result<T> {
        let transaction = self.transaction.borrow();
        let connection = match &*transaction {
            Some(transaction) => db::Connection::Transaction(transaction),
            None => db::Connection::Database(&self.db),
        };
        self.runtime.block_on(async {
            // A query that fails would end the transaction on PostgreSQL.
            if let db::Connection::Transaction(transaction) = connection {
                let savepoint = "SAVEPOINT read";
                transaction
                    .execute_unprepared(savepoint)
                    .await
                    .map_err(error)?;
            }
            let result = query(connection).await;
            if let db::Connection::Transaction(transaction) = connection {
                let end = match result {
                    Ok(_) => "RELEASE SAVEPOINT read",
                    Err(_) => "ROLLBACK TO SAVEPOINT read; RELEASE SAVEPOINT read",
                };
                transaction.execute_unprepared(end).await.map_err(error)?;
            }
            result.map_err(error)
        })
    }

    /// Writes in the statement's transaction. If it fails, nothing of this write stays.
    ///
    /// # Errors
    /// Those of the writing.
    pub fn write<T>(&self, change: impl AsyncFnOnce(&Transaction) -> Result<T>) -> Result<T> {
        let mut transaction = self.transaction.borrow_mut();
        let transaction = self.begun(&mut transaction)?;
        self.runtime.block_on(async {
            transaction
                .execute_unprepared("SAVEPOINT write")
                .await
                .map_err(error)?;
            let changed = change(transaction).await;
            let end = match changed {
                Ok(_) => "RELEASE SAVEPOINT write",
                Err(_) => "ROLLBACK TO SAVEPOINT write",
            };
            let ended = transaction.execute_unprepared(end).await;
            // The error of the change is the cause of the other one.
            changed.and_then(|value| ended.map(|_| value).map_err(error))
        })
    }

    /// Calls a function whose writes are undone together if it fails.
    ///
    /// # Errors
    /// Those of the function and of the database.
    pub fn group<T>(&self, function: impl FnOnce() -> Result<T>) -> Result<T> {
        let number = self.savepoints.get();
        let name = format!("group_{number}");
        let execute = |sql: String| self.write_plain(&sql);
        execute(format!("SAVEPOINT {name}"))?;
        self.savepoints.set(number + 1);
        let result = function();
        self.savepoints.set(number);
        match result {
            Ok(value) => execute(format!("RELEASE SAVEPOINT {name}")).map(|()| value),
            Err(failed) => {
                // Without a connection, the transaction is undone anyway.
                let _ = execute(format!("ROLLBACK TO SAVEPOINT {name}"));
                Err(failed)
            }
        }
    }

    /// The statement's transaction, which begins with its first write.
    fn begun<'t>(&self, transaction: &'t mut Option<Transaction>) -> Result<&'t Transaction> {
        Ok(match transaction {
            Some(transaction) => transaction,
            none => none.insert(self.runtime.block_on(self.db.begin()).map_err(error)?),
        })
    }

    fn write_plain(&self, sql: &str) -> Result<()> {
        let mut transaction = self.transaction.borrow_mut();
        let transaction = self.begun(&mut transaction)?;
        let executed = self.runtime.block_on(transaction.execute_unprepared(sql));
        executed.map(drop).map_err(error)
    }

    /// Commits what the statement has written.
    ///
    /// # Errors
    /// When it violates a deferred constraint, or the connection is lost.
    pub fn commit(&self) -> std::result::Result<(), DbErr> {
        match self.transaction.take() {
            Some(transaction) => self.runtime.block_on(transaction.commit()),
            None => Ok(()),
        }
    }

    /// Undoes what the statement has written.
    pub fn roll_back(&self) {
        let _runtime = self.runtime.enter();
        drop(self.transaction.take());
    }
}

/// The current time.
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// An error with a text.
pub fn failure(text: impl Into<String>) -> Box<EvalAltResult> {
    text.into().into()
}

/// An error of the database.
pub fn error(error: DbErr) -> Box<EvalAltResult> {
    failure(db::message(&error))
}
