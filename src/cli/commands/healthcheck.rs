use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::runserver::listen_address;
use crate::cli::Context;

const TIMEOUT: Duration = Duration::from_secs(3);

/// Ask a running server whether it is ready: exit status 0 if it is, 1 if not. An image needs no shell for it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the server listens: ADDR:PORT or PORT; default BIND.
    #[arg(value_name = "ADDR:PORT")]
    address: Option<String>,
}

impl Args {
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let mut address = listen_address(self.address.as_deref(), &context.settings.server).await?;
        // A server that listens on all addresses is asked on this machine's own.
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let asked = tokio::time::timeout(TIMEOUT, ask(address)).await;
        let (status, body) = asked
            .with_context(|| format!("{address} gave no answer in {} s", TIMEOUT.as_secs()))??;
        let answer = body.trim();
        if !status.is_success() {
            bail!("the server at {address} is not ready: {answer}");
        }
        if context.is_talkative() {
            writeln!(context.out, "{answer}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn ask(address: std::net::SocketAddr) -> anyhow::Result<(hyper::StatusCode, String)> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("no server at {address}"))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::get("/readyz")
        .header("Host", address.to_string())
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
