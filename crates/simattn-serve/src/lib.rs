//! Running a trained model: many requests at once, each with the bytes it would get alone.
//!
//! An [`Engine`](engine::Engine) is a model that continues sequences. A
//! [`Scheduler`](scheduler::Scheduler) runs it in a thread of its own and shares it between
//! requests; [`sampling`] chooses tokens, [`text`] makes text of them as they come,
//! [`writing`] does both for the answers to a request, and [`template`] writes chats as the tokens
//! that a model knows them by. With the feature `http`, `http` serves all of it over OpenAI's
//! interface.
//!
//! ```
//! use simattn_serve::engine::Toy;
//! use simattn_serve::scheduler::{Limits, Request, Scheduler, Update};
//!
//! let scheduler = Scheduler::start(Toy::new(128, 300), Limits::default())?;
//! let request = Request {
//!     prompt: vec![1, 2, 3],
//!     max_tokens: 5,
//!     ..Request::default()
//! };
//! let mut answers = scheduler.submit(vec![request])?;
//! let mut tokens = Vec::new();
//! while let Some(event) = answers.wait() {
//!     if let Update::Token { id, .. } = event.update {
//!         tokens.push(id);
//!     }
//! }
//! assert_eq!(tokens.len(), 5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod engine;
#[cfg(feature = "http")]
pub mod http;
pub mod sampling;
pub mod scheduler;
pub mod template;
pub mod text;
pub mod writing;
