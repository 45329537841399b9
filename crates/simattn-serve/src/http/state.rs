//! What the server's routes share.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use simattn_data::{TextSettings, Tokenizer};
use tokio::sync::watch;

use super::metrics::Metrics;
use crate::scheduler::Scheduler;
use crate::template::{ChatTemplate, TemplateError};
use crate::text::Vocabulary;

/// The model that is served.
#[derive(Debug)]
pub struct Model {
    pub(super) name: String,
    pub(super) tokenizer: Tokenizer,
    pub(super) text: TextSettings,
    /// Why there is none, if there is none.
    pub(super) template: Result<ChatTemplate, String>,
    pub(super) ends: Arc<[u32]>,
    pub(super) vocabulary: Arc<Vocabulary>,
    pub(super) scheduler: Scheduler,
}

impl Model {
    /// A model under a name, with what its folder says about text.
    pub fn new(
        name: String,
        tokenizer: Tokenizer,
        text: TextSettings,
        scheduler: Scheduler,
    ) -> Self {
        Self {
            name,
            template: ChatTemplate::of_model(&text, &tokenizer)
                .map_err(|error: TemplateError| error.to_string()),
            ends: text.generation_ends(&tokenizer).into(),
            vocabulary: Arc::new(Vocabulary::new(&tokenizer)),
            tokenizer,
            text,
            scheduler,
        }
    }

    /// Why chats cannot be served, if they cannot.
    pub fn template_problem(&self) -> Option<&str> {
        self.template.as_ref().err().map(String::as_str)
    }
}

/// What the server lets pass.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What has to be sent as `Authorization: Bearer …`.
    pub key: Option<String>,
    /// Names that the `Host` header may have; `None` for any.
    pub hosts: Option<HashSet<String>>,
    /// Bytes of a body.
    pub body: usize,
    /// Connections at once.
    pub connections: usize,
    /// For the head of a request to arrive.
    pub head_time: Duration,
    /// For its body to arrive.
    pub body_time: Duration,
    /// For an answer.
    pub answer_time: Duration,
    /// For running answers when the server is to stop.
    pub drain_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            key: None,
            hosts: None,
            body: 8 << 20,
            connections: 512,
            head_time: Duration::from_secs(15),
            body_time: Duration::from_secs(60),
            answer_time: Duration::from_secs(600),
            drain_time: Duration::from_secs(30),
        }
    }
}

/// State of the routes.
#[derive(Clone)]
pub struct AppState {
    pub(super) model: Arc<Model>,
    pub(super) settings: Arc<Settings>,
    pub(super) metrics: Arc<Metrics>,
    /// Becomes true when streams have to end.
    pub(super) ending: watch::Receiver<bool>,
    next_id: Arc<AtomicU64>,
    started: u64,
}

impl AppState {
    pub(super) fn new(model: Model, settings: Settings, ending: watch::Receiver<bool>) -> Self {
        Self {
            model: Arc::new(model),
            settings: Arc::new(settings),
            metrics: Arc::new(Metrics::default()),
            ending,
            next_id: Arc::new(AtomicU64::new(0)),
            started: seconds(),
        }
    }

    /// A name that no other response of this server has.
    pub(super) fn fresh_id(&self, prefix: &str) -> String {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}-{:x}-{number:x}", self.started)
    }

    /// When the server started, in seconds since 1970.
    pub(super) fn started(&self) -> u64 {
        self.started
    }
}

/// Waits until it is said, or nobody is left who could say it.
pub(super) async fn becomes_true(mut said: watch::Receiver<bool>) {
    let _ = said.wait_for(|said| *said).await;
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
