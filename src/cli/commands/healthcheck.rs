use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use crate::{
    cli::Context,
    server::tls,
    settings::{Bind, TlsFiles},
};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask a running server whether it is ready: exit status 0 if it is, 1 if not. An image needs no shell for it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the server listens: ADDR:PORT, PORT or unix:PATH; default the first of BIND.
    #[arg(value_name = "ADDR:PORT")]
    address: Option<Bind>,
}

impl Args {
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let settings = &context.settings.server;
        let bind = self.address.as_ref().unwrap_or(&settings.bind[0]);
        let (name, answer) = match bind {
            Bind::Unix(path) => {
                let connecting = async { Ok(UnixStream::connect(path).await?) };
                (
                    bind.to_string(),
                    ask(connecting, settings.tls.as_ref()).await,
                )
            }
            Bind::Tcp(_) => {
                let address = reachable(bind.resolve().await?[0]);
                let connecting = async { Ok(TcpStream::connect(address).await?) };
                (
                    address.to_string(),
                    ask(connecting, settings.tls.as_ref()).await,
                )
            }
        };
        let (status, body) = match answer {
            Ok(answer) => answer.with_context(|| format!("no server at {name}"))?,
            Err(_) => bail!("{name} gave no answer in {} s", TIMEOUT.as_secs()),
        };
        let answer = body.trim();
        if !status.is_success() {
            bail!("the server at {name} is not ready: {answer}");
        }
        if context.is_talkative() {
            writeln!(context.out, "{answer}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A server that listens on all addresses is asked on this machine's own.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

type Answer = anyhow::Result<(hyper::StatusCode, String)>;

async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connecting: impl Future<Output = anyhow::Result<S>>,
    files: Option<&TlsFiles>,
) -> Result<Answer, tokio::time::error::Elapsed> {
    let asking = async {
        let stream = connecting.await?;
        match files {
            Some(files) => request(tls::connect(stream, files).await?).await,
            None => request(stream).await,
        }
    };
    tokio::time::timeout(TIMEOUT, asking).await
}

async fn request(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Answer {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/readyz")
        // Probes may use any.
        .header("Host", "localhost")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
