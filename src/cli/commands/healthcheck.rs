use std::{
    io::Write,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::{
    network::is_trusted,
    server::tls,
    settings::{Bind, Environment, ServerOptions, ServerSettings, trusted_proxies},
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
    /// Needs the server's settings only: neither `SECRET_KEY` nor a database.
    pub async fn run(
        self,
        environment: &Environment,
        out: &mut dyn Write,
        is_verbose: bool,
    ) -> anyhow::Result<ExitCode> {
        let options = ServerOptions::default().resolve(environment, None)?;
        let settings = ServerSettings::new(&options)?;
        let proxies = trusted_proxies(&options.forwarded_allow_ips);
        let is_tls = settings.tls.is_some();
        let bind = self.address.as_ref().unwrap_or(&settings.bind[0]);
        let (name, response) = match bind {
            Bind::Unix(path) => {
                let connecting = async { Ok(UnixStream::connect(path).await?) };
                let response = probe(connecting, settings.proxy_protocol, is_tls).await;
                (bind.to_string(), response)
            }
            Bind::Tcp(_) => {
                let address = connect_address(bind.resolve().await?[0]);
                let connecting = async { Ok(TcpStream::connect(address).await?) };
                let is_proxy = settings.proxy_protocol && is_trusted(address.ip(), &proxies);
                (
                    address.to_string(),
                    probe(connecting, is_proxy, is_tls).await,
                )
            }
        };
        let (status, body) = match response {
            Ok(response) => response.with_context(|| format!("no answer from {name}"))?,
            Err(_) => bail!("{name} gave no answer in {} s", TIMEOUT.as_secs()),
        };
        let response = body.trim();
        if !status.is_success() {
            bail!("the server at {name} is not ready: {response}");
        }
        if is_verbose {
            writeln!(out, "{response}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The address to connect to: loopback for a server that listens on all addresses.
fn connect_address(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

type Reply = anyhow::Result<(hyper::StatusCode, String)>;

/// Sends a request for `/readyz`; returns the status and the body.
async fn probe<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connecting: impl Future<Output = anyhow::Result<S>>,
    is_proxy: bool,
    is_tls: bool,
) -> Result<Reply, tokio::time::error::Elapsed> {
    let probing = async {
        let mut stream = connecting.await.context("nothing listens there")?;
        if is_proxy {
            stream.write_all(b"PROXY UNKNOWN\r\n").await?;
        }
        let response = if is_tls {
            let stream = tls::connect(stream).await;
            request(stream.context("no TLS, or not with the certificate in CERTFILE")?).await
        } else {
            request(stream).await
        };
        response.context("the response is not HTTP: if the server uses TLS, set CERTFILE")
    };
    tokio::time::timeout(TIMEOUT, probing).await
}

async fn request(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Reply {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/readyz")
        // Health checks may use any host.
        .header("Host", "localhost")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
