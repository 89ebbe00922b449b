//! How maskd can be watched: metrics for Prometheus, signs of life of its stages, and text without secrets.
//!
//! Takes: what the other crates report. Gives: [`Metrics`](metrics::Metrics) with the accounting of every frame,
//! [`heartbeat`] for health checks and the watchdog, [`redact`] for everything that is logged, printed or published.

pub mod heartbeat;
pub mod metrics;
pub mod redact;
