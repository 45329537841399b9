//! Who may ask: the names under which the server may be called, and the key.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::middleware::Next;
use axum::response::IntoResponse;
use subtle::ConstantTimeEq;

use super::error::ApiError;
use super::state::{AppState, Settings};

/// Routes that need no key: one says whether the server works, the other is the page that asks for
/// the key.
const OPEN: [&str; 2] = ["/health", "/"];

/// Lets a request pass or refuses it, and gives every response its name.
pub(super) async fn guard(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response<Body> {
    let mut response = match check(&request, &state.settings) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    state.metrics.response(response.status().as_u16());
    if let Ok(id) = HeaderValue::from_str(&state.fresh_id("req")) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

fn check(request: &Request, settings: &Settings) -> Result<(), ApiError> {
    let text = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    // A name of somebody else's that leads here would let their page read what is served.
    if let Some(hosts) = &settings.hosts {
        let host = request
            .uri()
            .host()
            .or_else(|| text(header::HOST).map(without_port));
        let known = |host: &str| hosts.contains(&host.to_ascii_lowercase());
        if !host.is_some_and(known) {
            let message = "this server does not answer under the name in the Host header";
            return Err(ApiError::new(StatusCode::FORBIDDEN, message).with_code("host_not_allowed"));
        }
    }
    if let Some(origin) = text(header::ORIGIN) {
        let own = origin.split_once("://").map(|(_, host)| host);
        if own.is_none() || own != text(header::HOST) {
            let message = "pages of other origins may not use this server";
            return Err(
                ApiError::new(StatusCode::FORBIDDEN, message).with_code("origin_not_allowed")
            );
        }
    }
    let Some(key) = &settings.key else {
        return Ok(());
    };
    if OPEN.contains(&request.uri().path()) {
        return Ok(());
    }
    let sent = text(header::AUTHORIZATION).and_then(|value| value.split_once(' '));
    let sent = sent.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let right = sent.is_some_and(|(_, sent)| {
        // As long as the key is, whatever was sent.
        sent.trim().as_bytes().ct_eq(key.as_bytes()).into()
    });
    if right {
        Ok(())
    } else {
        let message = "the API key is missing or wrong: send it as \"Authorization: Bearer KEY\"";
        Err(ApiError::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key"))
    }
}

/// A host without its port.
fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        // Colons within brackets belong to the address.
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_no_part_of_a_name() {
        for (host, name) in [
            ("localhost", "localhost"),
            ("localhost:80", "localhost"),
            ("[::1]:8080", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(without_port(host), name);
        }
    }
}
