//! Listening sockets: those of the settings, or those that systemd passes.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use super::stream::Stream;
use crate::settings::{Bind, Mode, ServerSettings};

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// On a TCP address.
    Tcp(TcpListener),
    /// On a path. The file is removed with the listener, unless systemd passed it.
    Unix(UnixListener, Option<SocketFile>),
}

/// The file of a Unix socket, removed at the end.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: another server may have replaced the file.
    identity: (u64, u64),
}

impl SocketFile {
    fn at(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: identity(path)?,
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let file = path.symlink_metadata()?;
    Ok((file.dev(), file.ino()))
}

/// Opens the sockets of the settings; those that systemd passes (`LISTEN_FDS`) replace them.
///
/// # Errors
/// When an address cannot be resolved or bound; the message names it.
pub async fn open(settings: &ServerSettings) -> anyhow::Result<Vec<Listener>> {
    let inherited = inherited().context("the sockets in LISTEN_FDS cannot be used")?;
    if !inherited.is_empty() {
        return Ok(inherited);
    }
    let mut listeners = Vec::new();
    for bind in &settings.bind {
        listeners.extend(open_one(bind, settings).await?);
    }
    Ok(listeners)
}

/// Opens all addresses of one setting: a host name may have several.
///
/// # Errors
/// As [`open`].
pub async fn open_one(bind: &Bind, settings: &ServerSettings) -> anyhow::Result<Vec<Listener>> {
    if let Bind::Unix(path) = bind {
        let listener = listen_unix(path, settings.socket_mode)
            .with_context(|| format!("cannot listen on {bind}"))?;
        return Ok(vec![listener]);
    }
    let mut listeners = Vec::new();
    for address in bind.resolve().await? {
        let listener = listen_tcp(address, settings).map_err(|error| match error.kind() {
            // Django's words.
            io::ErrorKind::AddrInUse => {
                anyhow::anyhow!("cannot listen on {address}: That port is already in use.")
            }
            _ => anyhow::Error::new(error).context(format!("cannot listen on {address}")),
        })?;
        listeners.push(Listener::Tcp(listener));
    }
    Ok(listeners)
}

fn listen_tcp(address: SocketAddr, settings: &ServerSettings) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections in TIME_WAIT must not keep the next server from starting.
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(settings.reuse_port)?;
    socket.bind(address)?;
    socket.listen(settings.backlog)
}

fn listen_unix(path: &Path, mode: Mode) -> io::Result<Listener> {
    let is_socket = path
        .symlink_metadata()
        .is_ok_and(|file| file.file_type().is_socket());
    // A killed server leaves its socket file; a running one accepts connections.
    let asked = std::os::unix::net::UnixStream::connect(path);
    let is_dead = asked.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_socket && is_dead {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile::at(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode.0))?;
    Ok(Listener::Unix(listener, Some(file)))
}

/// The sockets that systemd, or a compatible supervisor, has opened for this process.
fn inherited() -> io::Result<Vec<Listener>> {
    let mut sockets = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..sockets.len() {
        // A socket of another kind stays for the next call.
        let tcp: io::Result<Option<StdTcpListener>> = sockets.take_tcp_listener(index);
        if let Ok(Some(listener)) = tcp {
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Tcp(TcpListener::from_std(listener)?));
        } else if let Some(listener) = sockets.take_unix_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(Listener::Unix(UnixListener::from_std(listener)?, None));
        }
    }
    Ok(listeners)
}

impl Listener {
    /// Where it listens: an address, or `unix:` and a path.
    pub fn name(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map(|address| address.to_string())
                .unwrap_or_default(),
            Self::Unix(listener, _) => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                format!("unix:{}", path.unwrap_or(Path::new("?")).display())
            }
        }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// When it cannot be accepted, for example because no file descriptors are left.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(Stream::tcp),
            Self::Unix(listener, _) => Ok(Stream::unix(listener.accept().await?.0)),
        }
    }

    /// Closes the socket, after accepting the connections of its backlog. Uses the system call: tokio may not have been
    /// notified of all of them.
    pub fn close(self) -> Vec<Stream> {
        fn all<T>(accept: impl Fn() -> io::Result<T>) -> impl Iterator<Item = T> {
            std::iter::from_fn(move || accept().ok())
        }
        match self {
            Self::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else {
                    return Vec::new();
                };
                all(|| {
                    let (stream, peer) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    Ok(Stream::tcp((TcpStream::from_std(stream)?, peer)))
                })
                .collect()
            }
            Self::Unix(listener, _) => {
                let Ok(listener) = listener.into_std() else {
                    return Vec::new();
                };
                all(|| {
                    let (stream, _) = listener.accept()?;
                    stream.set_nonblocking(true)?;
                    UnixStream::from_std(stream).map(Stream::unix)
                })
                .collect()
            }
        }
    }
}
