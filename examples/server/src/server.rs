//! Listens, serves, and ends.

use tokio::net::TcpListener;

use crate::app::App;
use crate::cli::Config;
use crate::{log, routes};

/// Serves until the process is told to end; an error in one line where it cannot begin.
pub(crate) fn run(config: Config) -> Result<(), String> {
    log::start(config.log_level.number()).map_err(|failure| failure.message)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.map_err(|error| error.to_string())?.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), String> {
    let place = (config.host.clone(), config.port);
    let listener = TcpListener::bind((place.0.as_str(), place.1)).await;
    let listener = listener.map_err(|error| {
        format!("cannot listen on {}:{}: {error}; choose another --port", place.0, place.1)
    })?;
    let app = App::new(config).map_err(|failure| failure.message)?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    log::info!("listening on http://{address}");
    axum::serve(listener, routes::all(app)).await.map_err(|error| error.to_string())
}
