//! Signal handling of the server, and reaping of zombie processes as PID 1 of a container.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The handlers of a server's signals.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    /// SIGUSR1, with which gunicorn reopens log files: ignored, since there are none.
    user: Signal,
}

impl Signals {
    /// Installs the handlers. As PID 1 also starts reaping zombies.
    ///
    /// # Errors
    /// When a handler cannot be registered.
    pub fn new() -> std::io::Result<Self> {
        if std::process::id() == 1 {
            tokio::spawn(reap(signal(SignalKind::child())?));
        }
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user: signal(SignalKind::user_defined1())?,
        })
    }

    /// Calls `reload` at each SIGHUP and `stop` at the first SIGTERM or SIGINT; returns at the second, or at SIGQUIT, when the
    /// process must end immediately.
    pub async fn run(&mut self, reload: impl Fn(), stop: impl Fn()) {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    reload();
                    continue;
                }
                _ = self.user.recv() => {
                    tracing::info!("SIGUSR1: the log goes to standard error, there is no file to reopen");
                    continue;
                }
                _ = self.quit.recv() => return,
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            if is_stopping {
                return;
            }
            is_stopping = true;
            stop();
        }
    }
}

/// Reaps orphaned child processes: in a container PID 1 adopts them, and they would stay zombies.
async fn reap(mut child_exits: Signal) {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while child_exits.recv().await.is_some() {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
    }
}
