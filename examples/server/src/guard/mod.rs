//! What stands before the routes: who may ask, how much they may send, and what is noted of it.
#![forbid(unsafe_code)]

mod body;
mod gate;
mod place;
mod shape;
mod traffic;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{header, HeaderName, HeaderValue, StatusCode};
use axum::middleware::{from_fn_with_state, Next};
use axum::response::{IntoResponse, Response};
use axum::Router;
use futures_util::FutureExt;

use self::body::Limits;
use self::gate::{Gate, Pass};
use self::traffic::Seen;
use crate::app::App;
use crate::error::ApiError;

/// Before all routes of a server.
pub(crate) struct Guard {
    app: Arc<App>,
    gate: Gate,
    limits: Limits,
}

impl Guard {
    /// For a server that only this machine reaches, or others, too.
    pub(crate) fn new(app: &Arc<App>, is_loopback: bool) -> Arc<Self> {
        let gate = Gate::new(&app.config, is_loopback);
        let limits = Limits::new(&app.config);
        Arc::new(Self { app: Arc::clone(app), gate, limits })
    }

    /// `router` behind this guard.
    pub(crate) fn around(self: Arc<Self>, router: Router) -> Router {
        // The guard's own limits hold in place of the extractors'.
        router.layer(DefaultBodyLimit::disable()).layer(from_fn_with_state(self, pass))
    }

    /// What a request that may come in is answered.
    async fn answer(&self, mut request: Request, next: Next) -> Result<Response, ApiError> {
        let shape = shape::Asked::of(&request);
        let body = std::mem::replace(request.body_mut(), Body::empty());
        let audit = self.limits.check(request.uri().path(), request.headers(), &body)?;
        *request.body_mut() = audit.bound(body);
        let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        // The panic's own message is on stderr.
        let broken = |_| {
            let message = "the server failed on this request; its log says where";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, Some("internal"), message.into())
        };
        let answered = answered.map_err(broken)?;
        match audit.verdict() {
            Some(error) => Err(error),
            None => Ok(audit.until_sent(shape.of_error(answered).await)),
        }
    }
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let seen = Seen::new(&guard.app, &request);
    let (pass, answered) = match guard.gate.check(&request) {
        Ok(pass) if pass.is_preflight() => (pass, Ok(StatusCode::NO_CONTENT.into_response())),
        Ok(pass) => match guard.gate.key(&request) {
            Ok(()) => (pass, guard.answer(request, next).await),
            Err(error) => (pass, Err(error)),
        },
        Err(error) => (Pass::default(), Err(error)),
    };
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    pass.mark(&mut response);
    harden(&mut response);
    seen.answer(response)
}

/// Has browsers take an answer for what it says it is, and no page show it inside itself.
fn harden(response: &mut Response) {
    let html = response.headers().get(header::CONTENT_TYPE);
    let is_html = html.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if is_html {
        set(header::X_FRAME_OPTIONS, "DENY");
        set(header::REFERRER_POLICY, "no-referrer");
        // A page that has scripts says itself which.
        set(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::Ordering;

    use axum::body::{to_bytes, Bytes};
    use axum::extract::Request;
    use axum::routing::post;
    use clap::Parser;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;
    use crate::cli::Config;

    fn guard() -> Arc<Guard> {
        let folder = std::env::temp_dir();
        let config = Config::parse_from([
            "fluid-server".as_ref(),
            "--model-path".as_ref(),
            folder.as_os_str(),
        ]);
        let app = App::new(config).expect("an engine");
        Guard::new(&app, true)
    }

    /// What routes answer to a request with a body of 100 bytes.
    async fn answer(guard: Arc<Guard>, routes: Router) -> Response {
        let guarded = guard.around(routes);
        let request =
            Request::post("/").header("host", "localhost").body(Body::from("x".repeat(100)));
        let answer = TowerToHyperService::new(guarded).call(request.expect("a request")).await;
        answer.expect("an answer")
    }

    async fn asked(routes: Router) -> (u16, String) {
        let (head, body) = answer(guard(), routes).await.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        (head.status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_panic_is_an_answer() {
        let panics = || async {
            if std::hint::black_box(true) {
                panic!("as the test asks");
            }
        };
        let (status, body) = asked(Router::new().route("/", post(panics))).await;
        assert_eq!(status, 500);
        assert!(
            body.contains(r#""type":"server_error""#) && !body.contains("as the test asks"),
            "{body}"
        );
    }

    #[tokio::test]
    async fn what_a_request_sent_counts_until_its_answer_was_sent() {
        let guard = guard();
        let held = || guard.limits.held.load(Ordering::Relaxed);
        let whole = |body: Bytes| async move { body };
        let routes = Router::new().route("/", post(whole));
        drop(answer(Arc::clone(&guard), routes).await);
        assert_eq!(held(), 0);
        // The route has its body, and says one thing more later.
        let streamed = |body: Bytes| async move {
            Body::from_stream(futures_util::stream::iter([Ok::<_, Infallible>(body)]))
        };
        let routes = Router::new().route("/", post(streamed));
        let answer = answer(Arc::clone(&guard), routes).await;
        assert_eq!(held(), 100);
        let body = to_bytes(answer.into_body(), 1 << 20).await.expect("a body");
        assert_eq!((body.len(), held()), (100, 0));
    }

    #[tokio::test]
    async fn what_extractors_refuse_has_openais_shape() {
        let wants_json = |_: axum::Json<serde_json::Value>| async {};
        let (status, body) = asked(Router::new().route("/", post(wants_json))).await;
        assert_eq!(status, 415);
        assert!(body.contains(r#""type":"invalid_request_error""#), "{body}");
        let own = || async { ApiError::invalid("a", "a: is wrong") };
        let (status, body) = asked(Router::new().route("/", post(own))).await;
        assert_eq!((status, body.contains(r#""param":"a""#)), (400, true), "{body}");
    }
}
