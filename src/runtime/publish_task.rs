//! From the engine's results to the publishers: one task publishes masks and what happened to instances, and counts.

use std::time::Instant;

use tokio::sync::mpsc;
use tracing::warn;

use super::{preview, rate::OncePerSecond, stream_output::StreamOutputs};
use maskd_observability::{
    heartbeat::Heartbeat,
    metrics::{DropCause, Metrics, Stage},
};
use maskd_tracking::engine::FrameResult;

/// Publishes until the engine's end of the channel is gone and all results are out.
pub(super) async fn publish_all(
    mut results: mpsc::Receiver<FrameResult>,
    outputs: StreamOutputs,
    metrics: Metrics,
    heartbeat: Heartbeat,
) {
    let mut failures = OncePerSecond::default();
    loop {
        if results.is_empty() {
            heartbeat.rest();
        }
        let Some(result) = results.recv().await else { break };
        heartbeat.beat();
        let FrameResult { frame, labels, instances, events, discovered, model, .. } = result;
        let Some(output) = outputs.get(&frame.stream) else {
            metrics.frame_dropped(&frame.stream, Stage::Publish, DropCause::PublishFailed);
            warn!(stream = %frame.stream, "This is a bug: a frame of an unknown stream");
            continue;
        };
        let (start, visible) = (Instant::now(), instances.len());
        output.publisher.name_model(&model);
        let sent = output.publisher.publish_masks(&frame, discovered, instances).await;
        let now = Instant::now();
        metrics.stage_took(Stage::Publish, now - start);
        metrics.instances(&frame.stream, visible);
        let mut failed = match sent {
            Ok(_) => {
                metrics.frame_published(&frame.stream);
                metrics.stage_took(Stage::Total, frame.captured.elapsed());
                output.published(now, frame.quality);
                None
            }
            Err(error) => {
                metrics.frame_dropped(&frame.stream, Stage::Publish, DropCause::PublishFailed);
                Some(error)
            }
        };
        for event in events {
            failed = output.publisher.publish_track_event(&frame, event).err().or(failed);
        }
        if let Some(error) = failed
            && let Some(times) = failures.pass(now)
        {
            warn!(stream = %frame.stream, times, "not published: {error}");
        }
        preview::show(&outputs, frame, labels);
    }
}
