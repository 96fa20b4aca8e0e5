use std::{collections::BTreeSet, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow, bail};
use chrono::Utc;

use crate::{
    checks::{self, Tag},
    cli::{
        context::{Context, error_chain},
        log,
        signals::Signals,
    },
    core::Core,
    db::{self, Database},
    migrations,
    server::{
        Server,
        listen::{self, Listener},
        tls::Tls,
    },
    settings::{Bind, Environment, ServerOptions, Settings},
    site::{Site, admin_site, health, metrics},
};

/// Check the system, then serve the site until CONTROL-C or SIGTERM.
///
/// Options are taken from the flags, then from the variables named in brackets, then from the file. SIGTERM and SIGINT end
/// the server when what is in flight is finished, a second one or SIGQUIT at once; SIGHUP lets it read its file, .env and
/// certificate again, for limits, times and log; what else has changed there needs a restart.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::doc_markdown,
    reason = "these are help texts, where backticks would show"
)]
pub struct Args {
    /// Where to listen: ADDR:PORT, PORT or unix:PATH; instead of --bind.
    #[arg(value_name = "ADDR:PORT", conflicts_with = "bind")]
    address: Option<String>,
    /// A file with options, in TOML, as --print-config writes it [POLLS_CONFIG; none].
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the options and the system, and end.
    #[arg(long)]
    check_config: bool,
    /// Print the options that are in force as such a file, and end.
    #[arg(long)]
    print_config: bool,
    #[command(flatten)]
    options: ServerOptions,
}

impl Args {
    /// The effective options: of flags, environment and file.
    fn resolve(&self, environment: &Environment) -> anyhow::Result<ServerOptions> {
        let mut flags = self.options.clone();
        if let Some(address) = &self.address {
            // Not parsed by clap: as in Django, an invalid address is a `CommandError`, not a usage error.
            let bind: anyhow::Result<Bind> = address.parse();
            flags.bind.push(bind.map_err(|error| anyhow!("{error}."))?);
        }
        flags.resolve(environment, self.config.as_deref())
    }

    /// The settings with the effective options.
    pub fn settings(&self, environment: &Environment) -> anyhow::Result<Settings> {
        Settings::with_options(environment, &self.resolve(environment)?)
    }

    /// Serves until it is signalled to stop, and then finishes the requests in flight.
    ///
    /// # Errors
    /// When a setting is invalid, an address cannot be listened at, the database cannot be opened, or a second signal ends it at
    /// once.
    pub async fn run(self, context: &mut Context) -> anyhow::Result<ExitCode> {
        let settings = context.settings.clone();
        if self.print_config {
            write!(
                context.out,
                "{}",
                toml::to_string(&settings.server_options())?
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        if settings.security.allowed_hosts.is_empty() {
            bail!("You must set settings.ALLOWED_HOSTS if DEBUG is False.");
        }
        if context.is_verbose() {
            writeln!(context.out, "Performing system checks...\n")?;
        }
        // The database is not checked here: a server starts without it.
        let messages = checks::run(&settings, &[Tag::Admin, Tag::Settings, Tag::Templates]).await;
        if !checks::report(
            &messages,
            checks::Level::Error,
            context.is_verbose(),
            &mut context.out,
        )? {
            return Ok(ExitCode::FAILURE);
        }
        let tls = settings.server.tls.as_ref().map(Tls::load).transpose()?;
        if self.check_config {
            return Ok(ExitCode::SUCCESS);
        }
        // Signals are handled from here on: PID 1 of a container ignores unhandled ones.
        let mut signals = Signals::new()?;
        let site = Site::build(settings, admin_site(), Utc::now)
            .await
            .with_context(|| {
                format!(
                    "the database at {} cannot be opened",
                    context.settings.database.display()
                )
            })?;
        let core = &site.core;
        // The last connection that is closed writes SQLite's write-ahead log back.
        let databases = [core.db.write(), core.db.probe()];
        context.databases.extend(databases.map(Database::clone));
        print_unapplied(context, core).await?;
        let server = Server::new(
            core.live.clone(),
            core.settings.security.trusted_proxies.clone(),
            tls.clone(),
            health::PROBES,
            core.draining.clone(),
        );
        serve_metrics(&site, &server).await?;
        let listeners = listen::open(&core.settings.server).await?;
        print_start(context, &listeners, tls.is_some())?;
        notify(sd_notify::NotifyState::Ready);
        let reload = || match self.reload(context, core, tls.as_ref()) {
            Ok(()) => tracing::info!(
                "reloaded certificate, limits, timeouts and log; other settings need a restart"
            ),
            Err(error) => {
                tracing::error!("not reloaded, all stays as it was: {}", error_chain(&error))
            }
        };
        let stop = || {
            core.draining.cancel();
            notify(sd_notify::NotifyState::Stopping);
            tracing::info!("stopping: finishing what is in flight");
        };
        let result = tokio::select! {
            () = server.serve(listeners, site.router()) => Ok(ExitCode::SUCCESS),
            () = signals.run(reload, stop) => Err(anyhow!("stopped at once, without waiting for what was in flight.")),
        };
        site.close().await;
        result
    }

    /// Reloads the settings that may change while the server runs.
    fn reload(&self, context: &Context, core: &Core, tls: Option<&Tls>) -> anyhow::Result<()> {
        let environment = Environment::load(context.settings.env_file.as_deref())?;
        let settings = self.settings(&environment)?;
        log::check_filter(&settings.log.filter)?;
        if let (Some(tls), Some(files)) = (tls, &settings.server.tls) {
            tls.reload(files)?;
        }
        context.log.set_filter(&settings.log.filter)?;
        core.live.set(settings.server);
        Ok(())
    }
}

/// Notifies the service manager, such as systemd, if there is one.
fn notify(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// Serves the metrics on the separate listener of `METRICS_BIND`, if set.
async fn serve_metrics(site: &Site, server: &Server) -> anyhow::Result<()> {
    let settings = &site.core.settings.server;
    let Some(bind) = &settings.metrics_bind else {
        return Ok(());
    };
    let listeners = listen::open_one(bind, settings)
        .await
        .context("METRICS_BIND cannot be used")?;
    for listener in &listeners {
        tracing::info!("metrics at {}", listener.name());
    }
    let exporter = metrics::router(site.clone(), server.clone());
    let server = server.for_metrics();
    tokio::spawn(async move { server.serve(listeners, exporter).await });
    Ok(())
}

/// Prints the lines that Django's `runserver` prints when it starts.
fn print_start(context: &mut Context, listeners: &[Listener], is_tls: bool) -> anyhow::Result<()> {
    if !context.is_verbose() {
        return Ok(());
    }
    let source = match &context.settings.env_file {
        Some(file) => format!("settings '{}'", file.display()),
        None => "settings from the environment".to_owned(),
    };
    writeln!(context.out, "{}", Utc::now().format("%B %d, %Y - %H:%M:%S"))?;
    writeln!(
        context.out,
        "polls version {}, using {source}",
        env!("CARGO_PKG_VERSION")
    )?;
    let scheme = if is_tls { "https" } else { "http" };
    for listener in listeners {
        match listener {
            Listener::Tcp(_) => writeln!(
                context.out,
                "Starting server at {scheme}://{}/",
                listener.name()
            )?,
            Listener::Unix(..) => writeln!(context.out, "Starting server at {}", listener.name())?,
        }
    }
    writeln!(context.out, "Quit the server with CONTROL-C.")?;
    context.out.flush()?;
    Ok(())
}

/// Prints how many migrations are unapplied, if any.
async fn print_unapplied(context: &mut Context, core: &Core) -> anyhow::Result<()> {
    let unapplied = match migrations::unapplied(core.db.write()).await {
        Ok(unapplied) => unapplied,
        Err(error) => {
            // Why PostgreSQL cannot be reached has been logged.
            if core.db.write().outage().await.is_none() {
                let reason = db::message(&error);
                tracing::warn!(
                    "the database does not answer yet: {}",
                    reason.escape_debug()
                );
            }
            return Ok(());
        }
    };
    if unapplied.is_empty() || !context.is_verbose() {
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
