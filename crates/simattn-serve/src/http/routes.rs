//! Paths and what answers them.

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tower_http::catch_panic::CatchPanicLayer;

use super::error::ApiError;
use super::reply::Prepared;
use super::state::{AppState, Model};
use super::{answering, chat, completions, guard, tokenizing};

const PAGE: &str = include_str!("page.html");
const OPENAPI: &str = include_str!("openapi.json");

/// What the page may do: nothing from elsewhere, and it is in nobody's frame.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src \
    'unsafe-inline'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors \
    'none'";

pub(super) fn router(state: AppState) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route(
            "/openapi.json",
            get(|| async { fixed("application/json", OPENAPI) }),
        )
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(one_model))
        .route("/v1/completions", post(complete))
        .route("/v1/chat/completions", post(answer_chat))
        .route("/tokenize", post(tokenize))
        .route("/detokenize", post(detokenize))
        .route("/tokenizer_info", get(tokenizer_info))
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(CatchPanicLayer::custom(|_| {
            let message = "the server failed on this request";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }))
        .layer(from_fn_with_state(state.clone(), guard::guard))
        .with_state(state)
}

async fn no_route() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is nothing under this path").with_code("not_found")
}

async fn no_method() -> ApiError {
    let message = "this path is there, but not with this method";
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}

fn fixed(kind: &'static str, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn page() -> Response<Body> {
    let mut response = fixed("text/html; charset=utf-8", PAGE);
    let policy = HeaderValue::from_static(PAGE_POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

async fn health(State(state): State<AppState>) -> Response<Body> {
    let scheduler = &state.model.scheduler;
    let (status, word) = match (scheduler.is_alive(), scheduler.is_draining()) {
        (false, _) => (
            StatusCode::SERVICE_UNAVAILABLE,
            "the thread that runs the model has ended",
        ),
        (true, true) => (StatusCode::SERVICE_UNAVAILABLE, "about to stop"),
        (true, false) => (StatusCode::OK, "ok"),
    };
    super::json(status, &json!({ "status": word }))
}

async fn metrics(State(state): State<AppState>) -> Response<Body> {
    let text = state.metrics.text(&state.model.scheduler);
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn described(state: &AppState) -> Value {
    json!({
        "id": state.model.name,
        "object": "model",
        "created": state.started(),
        "owned_by": "simattn",
        "max_model_len": state.model.scheduler.context_length(),
    })
}

async fn models(State(state): State<AppState>) -> Response<Body> {
    let list = json!({ "object": "list", "data": [described(&state)] });
    super::json(StatusCode::OK, &list)
}

async fn one_model(
    State(state): State<AppState>,
    Path(id): Path<String>,
) -> Result<Response<Body>, ApiError> {
    if id == state.model.name {
        return Ok(super::json(StatusCode::OK, &described(&state)));
    }
    let message = format!("the only model here is {:?}", state.model.name);
    let error = ApiError::new(StatusCode::NOT_FOUND, message);
    Err(error.about("model").with_code("model_not_found"))
}

async fn complete(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    prepare_and_answer(state, request, completions::read).await
}

async fn answer_chat(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    prepare_and_answer(state, request, chat::read).await
}

async fn prepare_and_answer(
    state: AppState,
    request: Request,
    read: fn(&[u8], &Model) -> Result<Prepared, ApiError>,
) -> Result<Response<Body>, ApiError> {
    let body = body(&state, request).await?;
    let prepared = beside(&state, move |model| read(&body, model)).await?;
    answering::answer(state, prepared).await
}

async fn tokenize(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let body = body(&state, request).await?;
    let value = beside(&state, move |model| tokenizing::tokenize(&body, model)).await?;
    Ok(super::json(StatusCode::OK, &value))
}

async fn detokenize(
    State(state): State<AppState>,
    request: Request,
) -> Result<Response<Body>, ApiError> {
    let body = body(&state, request).await?;
    let value = beside(&state, move |model| tokenizing::detokenize(&body, model)).await?;
    Ok(super::json(StatusCode::OK, &value))
}

async fn tokenizer_info(State(state): State<AppState>) -> Response<Body> {
    super::json(StatusCode::OK, &tokenizing::info(&state.model))
}

/// Does what may take a while in a thread beside the runtime's.
async fn beside<T: Send + 'static>(
    state: &AppState,
    work: impl FnOnce(&Model) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let model = state.model.clone();
    match tokio::task::spawn_blocking(move || work(&model)).await {
        Ok(result) => result,
        Err(_) => {
            let message = "the server failed on this request";
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message))
        }
    }
}

/// The body of a request, which must say that it is JSON: what a page of another origin can send
/// unasked does not.
async fn body(state: &AppState, request: Request) -> Result<Bytes, ApiError> {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = "the body must be JSON: send \"Content-Type: application/json\"";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let settings = &state.settings;
    let too_large = || {
        let message = format!("the body has more than the {} bytes allowed", settings.body);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let stated = request.headers().get(header::CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|length| length > settings.body as u64) {
        return Err(too_large());
    }
    let read = to_bytes(request.into_body(), settings.body);
    match tokio::time::timeout(settings.body_time, read).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_too_large(&error) => Err(too_large()),
        Ok(Err(error)) => Err(ApiError::wrong(format!("the body cannot be read: {error}"))),
        Err(_) => {
            let message = "the body did not arrive in time";
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if inner.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = inner.source();
    }
    false
}
