//! Listens, serves, and ends.
#![forbid(unsafe_code)]

mod connections;
mod listen;
mod patient;
mod signals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use self::connections::Connections;
use self::listen::Listeners;
use self::signals::Signals;
use crate::app::App;
use crate::cli::Config;
use crate::guard::Guard;
use crate::{folders, log, routes};

/// How long answers that are under way may take when the process is told to end.
const GRACE: Duration = Duration::from_secs(10);

/// How long those whose work was stopped then have for their last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long models have to be freed: what a backend computes cannot always be stopped.
const FREEING: Duration = Duration::from_secs(10);

/// Serves until the process is told to end; an error in one line where it cannot begin.
pub(crate) fn run(config: Config) -> Result<(), String> {
    log::start(config.log_level.number()).map_err(|failure| failure.message)?;
    folders::prepare(&config)?;
    log::info!("models in {}", config.model_path.display());
    if let Some(cache) = &config.cache_dir {
        log::info!("compiled models in {}", cache.display());
    }
    if config.reload {
        log::warning!("--reload has no meaning here: there are no sources to watch");
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let served = runtime.block_on(serve(config));
    // What files and drivers are still asked is of no use to anybody.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> Result<(), String> {
    let listeners = Listeners::new(&config.host, config.port).await?;
    let addresses = listeners.addresses().map_err(|error| error.to_string())?;
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let app = App::new(config).map_err(|failure| failure.message)?;
    let is_loopback = addresses.iter().all(|address| address.ip().is_loopback());
    let guard = Guard::new(&app, is_loopback);
    let router = guard.around(routes::all(Arc::clone(&app)));
    app.begin();
    for address in &addresses {
        log::info!("listening on http://{address}");
    }
    warn_of_openness(&app.config, &addresses);
    let mut connections = Connections::new(router, Arc::clone(&app));
    tokio::select! {
        () = connections.accept(&listeners) => {}
        () = signals.next() => {}
    }
    drop(listeners);
    tokio::select! {
        () = end(&app, connections) => Ok(()),
        () = signals.next() => Err("told to end twice: ended at once".to_owned()),
    }
}

/// Says who may use the server without a key, where they are many.
fn warn_of_openness(config: &Config, addresses: &[SocketAddr]) {
    if config.api_key.is_some() {
        return;
    }
    for address in addresses.iter().filter(|address| !address.ip().is_loopback()) {
        log::warning!("whoever reaches {address} may use the server: give it an --api-key");
    }
    if config.cors_origin.iter().any(|origin| origin == "*") {
        log::warning!("any web page may use the server: give it an --api-key");
    }
}

async fn end(app: &Arc<App>, mut connections: Connections) {
    connections.wind_up();
    let seconds = GRACE.as_secs();
    log::info!("ending: {} connections have up to {seconds} s", connections.count());
    if timeout(GRACE, connections.ended()).await.is_err() {
        log::info!("ending: {} answers are cut short", connections.count());
        app.engine.stop_jobs();
        // Those that are still open then are dropped with the runtime.
        let _ = timeout(LAST_WORDS, connections.ended()).await;
    }
    let engine = app.engine.clone();
    let freed = tokio::task::spawn_blocking(move || engine.free());
    if timeout(FREEING, freed).await.is_err() {
        log::warning!("ended while a model was still busy");
    }
    let _ = timeout(FREEING, app.devices.settled()).await;
}
