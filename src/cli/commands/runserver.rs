use std::{collections::BTreeSet, net::SocketAddr, process::ExitCode};

use anyhow::{Context as _, bail};
use chrono::Utc;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{
    app::{App, admin_site},
    checks::{self, Tag},
    cli::Context,
    migrations,
    settings::{ServerSettings, check_bind},
    web,
};

/// Check the system, then serve the site until CONTROL-C or SIGTERM.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen: ADDR:PORT or PORT; default BIND, or 127.0.0.1:8000.
    #[arg(value_name = "ADDR:PORT")]
    address: Option<String>,
}

impl Args {
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let settings = context.settings.clone();
        if settings.security.allowed_hosts.is_empty() {
            bail!("You must set settings.ALLOWED_HOSTS if DEBUG is False.");
        }
        let address = listen_address(self.address.as_deref(), &settings.server).await?;
        let graceful_timeout = settings.server.graceful_timeout;
        if context.is_talkative() {
            writeln!(context.out, "Performing system checks...\n")?;
        }
        // The database is looked at below: a server starts without it and waits for it.
        let messages = checks::run(&settings, &[Tag::Admin, Tag::Settings, Tag::Templates]).await;
        if !checks::report(
            &messages,
            checks::Level::Error,
            context.is_talkative(),
            &mut context.out,
        )? {
            return Ok(ExitCode::FAILURE);
        }
        let app = App::build(settings, admin_site(), Utc::now)
            .await
            .with_context(|| {
                format!(
                    "the database at {} cannot be opened",
                    context.settings.database.display()
                )
            })?;
        context.databases.push(app.db.write().clone());
        notice_unapplied(context, &app).await?;
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?;
        if context.is_talkative() {
            let source = match &context.env_file {
                Some(file) => format!("settings '{}'", file.display()),
                None => "settings from the environment".to_owned(),
            };
            writeln!(context.out, "{}", Utc::now().format("%B %d, %Y - %H:%M:%S"))?;
            writeln!(
                context.out,
                "polls version {}, using {source}",
                env!("CARGO_PKG_VERSION")
            )?;
            writeln!(context.out, "Starting server at http://{address}/")?;
            writeln!(context.out, "Quit the server with CONTROL-C.")?;
            context.out.flush()?;
        }
        let (mut first, mut second) = (Signals::new()?, Signals::new()?);
        let stop = async {
            first.next().await;
            app.drain();
            tracing::info!("stopping: finishing what is in flight");
        };
        let impatience = async {
            second.next().await;
            second.next().await;
        };
        tokio::select! {
            () = web::server::serve(listener, web::router(app.clone()), stop, graceful_timeout) => Ok(ExitCode::SUCCESS),
            () = impatience => bail!("stopped at the second signal, without waiting for what was in flight."),
        }
    }
}

/// The signals that end the server.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Says what `migrate` would have to do, if anything.
async fn notice_unapplied(context: &mut Context, app: &App) -> anyhow::Result<()> {
    let unapplied = match migrations::unapplied(app.db.read()).await {
        Ok(unapplied) => unapplied,
        Err(error) => {
            let database = app.settings.database.display();
            tracing::warn!("the database at {database} does not answer yet: {error}");
            return Ok(());
        }
    };
    if unapplied.is_empty() || !context.is_talkative() {
        return Ok(());
    }
    let apps: BTreeSet<&str> = unapplied.iter().map(|migration| migration.app).collect();
    let apps = apps.into_iter().collect::<Vec<_>>().join(", ");
    writeln!(
        context.out,
        "\nYou have {} unapplied migration(s). Your project may not work properly until you apply the migrations for \
         app(s): {apps}.\nRun 'polls migrate' to apply them.",
        unapplied.len(),
    )?;
    Ok(())
}

/// Where the server listens: at the address that was given, or as `BIND` says.
pub async fn listen_address(
    given: Option<&str>,
    settings: &ServerSettings,
) -> anyhow::Result<SocketAddr> {
    let text = given.unwrap_or(&settings.bind);
    check_bind(text)?;
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    let unknown = || format!("\"{text}\" is not known here");
    let mut found = tokio::net::lookup_host(text).await.with_context(unknown)?;
    found.next().with_context(unknown)
}
