//! The signals that a server obeys, and the children that come to a process with the number 1.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// All of them, caught from the moment that this is made.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    /// "Open the log again": there is no log file.
    user: Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the system does not let it.
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

    /// Calls `reload` at each SIGHUP and `stop` at the first SIGTERM or SIGINT; comes back when the process shall end at
    /// once: at the second, or at SIGQUIT.
    pub async fn run(&mut self, reload: impl Fn(), stop: impl Fn()) {
        let mut is_stopping = false;
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    reload();
                    continue;
                }
                _ = self.user.recv() => {
                    tracing::info!("SIGUSR1: the log goes to standard error, there is no file to open again");
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

/// Takes leave of children whose parents have died. They come to the first process of a container, and would stay there
/// as zombies.
async fn reap(mut ended: Signal) {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    while ended.recv().await.is_some() {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            if status == WaitStatus::StillAlive {
                break;
            }
        }
    }
}
