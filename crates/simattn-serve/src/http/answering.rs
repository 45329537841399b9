//! From a request that was read to its response.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, StatusCode, header};
use futures_core::Stream;
use serde_json::Value;
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};

use super::error::ApiError;
use super::reply::{Piece, Prepared, Reply, Shape, Usage};
use super::state::{AppState, becomes_true, seconds};
use crate::sampling::Logprobs;
use crate::scheduler::Request;
use crate::text::TextToken;
use crate::writing::{Ending, Writing, Written};

/// Silence after which a stream shows that it is alive.
const PING: Duration = Duration::from_secs(15);

/// Answers a request.
pub(super) async fn answer(
    state: AppState,
    prepared: Prepared,
) -> Result<Response<Body>, ApiError> {
    let (model, began) = (&state.model, Instant::now());
    let stream = prepared.stream;
    let reply = Reply {
        shape: prepared.shape,
        id: state.fresh_id(match prepared.shape {
            Shape::Completion => "cmpl",
            Shape::Chat => "chatcmpl",
        }),
        created: seconds(),
        model: model.name.clone(),
        seed: prepared.seed,
        logprobs: prepared
            .requests
            .iter()
            .any(|request| request.logprobs.is_some()),
        include_usage: prepared.include_usage,
    };
    let ends = prepared
        .requests
        .first()
        .map(|request: &Request| request.ends.clone());
    let answers = model.scheduler.submit(prepared.requests)?;
    let vocabulary = model.vocabulary.clone();
    let writing = Writing::new(
        answers,
        prepared.outputs,
        ends.unwrap_or_default(),
        vocabulary,
    );
    let progress = Progress {
        usage: Usage {
            prompt: prepared.prompt_tokens,
            ..Usage::default()
        },
        echoes: prepared.echoes,
        writing,
        reply,
        state,
        began,
    };
    if stream {
        Ok(streamed(progress))
    } else {
        whole(progress).await
    }
}

/// A response in the making. Dropping it ends the work on it.
struct Progress {
    writing: Writing,
    reply: Reply,
    echoes: Vec<Option<super::reply::Echo>>,
    usage: Usage,
    state: AppState,
    began: Instant,
}

impl Progress {
    /// Keeps count of what came.
    fn count(&mut self, choice: usize, written: &Written) {
        match written {
            Written::Prompt { reused, .. } => {
                self.usage.reused += reused;
                self.state.metrics.first_token.observe(self.began.elapsed());
            }
            Written::Text {
                ending: Some(_), ..
            } => {
                self.usage.completion += self.writing.tokens(choice);
            }
            _ => {}
        }
    }

    /// How many there are is known at the end: prompts with several choices count once.
    fn usage(&self) -> Usage {
        let reused = self.usage.reused.min(self.usage.prompt);
        Usage {
            reused,
            ..self.usage
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.state.metrics.answer.observe(self.began.elapsed());
    }
}

/// A choice of a response that is sent whole.
#[derive(Default)]
struct Collected {
    text: String,
    tokens: Vec<TextToken>,
    prompt_logprobs: Vec<Logprobs>,
    ending: Option<Ending>,
}

async fn whole(mut progress: Progress) -> Result<Response<Body>, ApiError> {
    let mut collected: Vec<Collected> = Vec::new();
    collected.resize_with(progress.echoes.len(), Collected::default);
    let mut late = Box::pin(sleep(progress.state.settings.answer_time));
    let mut ending = Box::pin(becomes_true(progress.state.ending.clone()));
    loop {
        let next = tokio::select! {
            next = progress.writing.next() => next,
            () = &mut late => return Err(timeout()),
            () = &mut ending => return Err(stopping()),
        };
        let Some((choice, written)) = next else { break };
        progress.count(choice, &written);
        let own = &mut collected[choice];
        match written {
            Written::Prompt { logprobs, .. } => own.prompt_logprobs = logprobs,
            Written::Text { released, ending } => {
                own.text.push_str(&released.text);
                own.tokens.extend(released.tokens);
                own.ending = own.ending.or(ending);
            }
            Written::Failed(error) => return Err(error.into()),
        }
    }
    let vocabulary = &progress.state.model.vocabulary;
    let choices = collected.iter().zip(&progress.echoes).enumerate();
    let choices = choices.map(|(choice, (own, echo))| {
        let piece = Piece {
            text: &own.text,
            tokens: &own.tokens,
            echo: echo.as_ref().map(|echo| (echo, &own.prompt_logprobs[..])),
            ending: own.ending,
        };
        progress.reply.choice(choice, &piece, vocabulary)
    });
    let choices = choices.collect();
    Ok(super::json(
        StatusCode::OK,
        &progress.reply.whole(choices, progress.usage()),
    ))
}

fn timeout() -> ApiError {
    let message = "the answer takes longer than this server allows; ask for fewer tokens";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).with_code("timeout")
}

fn stopping() -> ApiError {
    let message = "the server stops and cannot finish the answer";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message)
}

fn streamed(progress: Progress) -> Response<Body> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    let opened = match progress.reply.shape {
        Shape::Completion => progress.echoes.len(),
        Shape::Chat => 0,
    };
    let ending = becomes_true(progress.state.ending.clone());
    let events = EventStream {
        late: Box::pin(sleep(progress.state.settings.answer_time)),
        ending: Box::pin(ending),
        progress: Some(progress),
        ping,
        opened,
    };
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (header::CACHE_CONTROL, "no-cache"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The chunks of a response as server-sent events.
struct EventStream {
    /// `None` after the last event.
    progress: Option<Progress>,
    /// Choices that have been opened.
    opened: usize,
    ping: Interval,
    late: Pin<Box<Sleep>>,
    ending: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Stream for EventStream {
    type Item = Result<Bytes, std::convert::Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(progress) = &mut this.progress else {
            return Poll::Ready(None);
        };
        if this.opened < progress.echoes.len() {
            let event = event(&progress.reply.opening(this.opened));
            this.opened += 1;
            return Poll::Ready(Some(Ok(event.into())));
        }
        while let Poll::Ready(next) = progress.writing.poll_next(context) {
            let Some((choice, written)) = next else {
                let text = last_events(progress);
                this.progress = None;
                return Poll::Ready(Some(Ok(text.into())));
            };
            progress.count(choice, &written);
            let text = match written_event(progress, choice, written) {
                Ok(Some(text)) => text,
                Ok(None) => continue,
                Err(error) => {
                    this.progress = None;
                    event(&error.body())
                }
            };
            this.ping.reset();
            return Poll::Ready(Some(Ok(text.into())));
        }
        let too_late = this.late.as_mut().poll(context).is_ready();
        if too_late || this.ending.as_mut().poll(context).is_ready() {
            this.progress = None;
            let error = if too_late { timeout() } else { stopping() };
            return Poll::Ready(Some(Ok(event(&error.body()).into())));
        }
        match this.ping.poll_tick(context) {
            Poll::Ready(_) => Poll::Ready(Some(Ok(Bytes::from_static(b": ping\n\n")))),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn written_event(
    progress: &Progress,
    choice: usize,
    written: Written,
) -> Result<Option<String>, ApiError> {
    let vocabulary = &progress.state.model.vocabulary;
    let chunk = |piece: Piece<'_>| event(&progress.reply.chunk(choice, &piece, vocabulary));
    match written {
        Written::Prompt { logprobs, .. } => {
            let echo = progress.echoes[choice].as_ref();
            Ok(echo.map(|echo| {
                chunk(Piece {
                    echo: Some((echo, &logprobs[..])),
                    ..Piece::default()
                })
            }))
        }
        Written::Text { released, ending } => {
            let piece = |text, tokens, ending| Piece {
                text,
                tokens,
                ending,
                echo: None,
            };
            let (text, tokens) = (released.text.as_str(), released.tokens.as_slice());
            // A chat's last delta is empty.
            if progress.reply.shape == Shape::Chat
                && ending.is_some()
                && !(text.is_empty() && tokens.is_empty())
            {
                let last = chunk(piece("", &[], ending));
                return Ok(Some(chunk(piece(text, tokens, None)) + &last));
            }
            Ok(Some(chunk(piece(text, tokens, ending))))
        }
        Written::Failed(error) => Err(error.into()),
    }
}

fn last_events(progress: &Progress) -> String {
    let usage = progress.reply.include_usage.then(|| progress.usage());
    let usage = usage.map(|usage| event(&progress.reply.usage_chunk(usage)));
    usage.unwrap_or_default() + "data: [DONE]\n\n"
}

fn event(value: &Value) -> String {
    format!("data: {value}\n\n")
}
