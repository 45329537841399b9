//! A model over HTTP, by OpenAI's interface.
//!
//! Reading a request, its template and its tokens happen in threads for that; the model has its
//! own; what is left for the runtime is to carry bytes.

mod answering;
mod asked;
mod chat;
mod completions;
mod connections;
mod error;
mod fields;
mod guard;
mod logprobs;
mod metrics;
mod reply;
mod routes;
mod runtime;
mod state;
mod tokenizing;

pub use connections::serve;
pub use error::ApiError;
pub use runtime::{Server, run};
pub use state::{Model, Settings};

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use serde_json::Value;

/// Reads the body of a completion as the server does, for tests of the reader alone: how many
/// answers it asks for, or why it is refused.
///
/// # Errors
/// What the server would say.
pub fn read_completion(body: &[u8], model: &Model) -> Result<usize, ApiError> {
    Ok(completions::read(body, model)?.requests.len())
}

/// The same for a chat completion.
///
/// # Errors
/// What the server would say.
pub fn read_chat(body: &[u8], model: &Model) -> Result<usize, ApiError> {
    Ok(chat::read(body, model)?.requests.len())
}

/// The same for `/tokenize` and `/detokenize`: the response.
///
/// # Errors
/// What the server would say.
pub fn read_tokenizing(body: &[u8], model: &Model) -> Result<[Value; 1], ApiError> {
    tokenizing::tokenize(body, model)
        .or_else(|_| tokenizing::detokenize(body, model))
        .map(|value| [value])
}

/// A response of JSON.
fn json(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
