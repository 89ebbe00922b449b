//! stub
mod rate;
mod service;
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("{0}")]
    Config(anyhow::Error),
    #[error("{0}")]
    Data(anyhow::Error),
    #[error("{0}")]
    Unavailable(anyhow::Error),
    #[error("{0}")]
    Engine(anyhow::Error),
    #[error("{0}")]
    Internal(anyhow::Error),
}
pub struct Count {
    pub captured: u64,
    pub published: u64,
    pub dropped: u64,
}
pub struct Summary {
    pub streams: std::collections::BTreeMap<crate::frame::StreamId, Count>,
}
pub fn run(_c: crate::config::Config) -> Result<Summary, RunError> {
    Err(RunError::Internal(anyhow::anyhow!("stub")))
}
