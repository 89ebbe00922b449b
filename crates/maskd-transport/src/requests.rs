//! What subscribers ask of the daemon, whichever publisher hears it.

use maskd_protocol::wire::Reloaded;
use maskd_types::{frame::StreamId, instance::Prompt};
use tokio::sync::{mpsc, oneshot};

/// Prompts that may wait for the runtime; those above are answered "busy".
pub(super) const WAITING_PROMPTS: usize = 16;

/// Where publishers pass on what they are asked. A handle is cheap to clone.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Prompts for a stream's tracker.
    pub prompts: mpsc::Sender<PromptRequest>,
    /// Wishes for the configuration to be read again.
    pub reloads: mpsc::Sender<ReloadRequest>,
}

impl Requests {
    /// A handle, and where the requests come out: at most 16 prompts and one reload wait.
    pub fn channel() -> (Self, mpsc::Receiver<PromptRequest>, mpsc::Receiver<ReloadRequest>) {
        let (prompts, prompted) = mpsc::channel(WAITING_PROMPTS);
        let (reloads, reloaded) = mpsc::channel(1);
        (Self { prompts, reloads }, prompted, reloaded)
    }
}

/// Somebody's prompt, well-formed but not yet checked against the stream.
#[derive(Debug)]
pub struct PromptRequest {
    /// For which camera.
    pub stream: StreamId,
    /// What is asked.
    pub prompt: Prompt,
    /// Where to say yes or no.
    pub answer: PromptAnswer,
}

/// The answer to a prompt. Never blocks; dropped unanswered, it tells the asker that the daemon is stopping.
#[derive(Debug)]
pub struct PromptAnswer(oneshot::Sender<Result<(), String>>);

impl PromptAnswer {
    /// An answer, and where it comes out: `Err` holds why the prompt is refused, on one line.
    pub fn channel() -> (Self, oneshot::Receiver<Result<(), String>>) {
        let (answer, answered) = oneshot::channel();
        (Self(answer), answered)
    }

    /// The prompt will be applied.
    pub fn accept(self) {
        // The asker may have stopped waiting.
        let _ = self.0.send(Ok(()));
    }

    /// The prompt is refused; `why` is one line.
    pub fn refuse(self, why: impl Into<String>) {
        let _ = self.0.send(Err(why.into()));
    }
}

/// Somebody wants the configuration to be read again. Answer with what has changed, or why nothing has, on one line.
#[derive(Debug)]
pub struct ReloadRequest(pub oneshot::Sender<Result<Reloaded, String>>);
