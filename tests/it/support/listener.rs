//! A subscriber beside a test: a thread that hands on everything that a daemon publishes.

use maskd::publish::{Reader, Received};

/// Subscribes at `endpoint`; `heard` gets each message until it says that it has enough.
pub fn listen(endpoint: &str, mut heard: impl FnMut(Received) -> bool + Send + 'static) {
    let endpoint = endpoint.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let reader = Reader::open(&[endpoint], None, None, None).await.unwrap();
            while let Ok(received) = reader.next().await {
                if !heard(received) {
                    break;
                }
            }
            reader.close().await;
        });
    });
}
