//! Receives the masks of a running daemon and prints, of each frame, how much of the picture each instance covers.
//!
//!     cargo run --release --example subscriber                        # the daemon on this machine
//!     cargo run --release --example subscriber -- tcp/192.0.2.7:7447  # or elsewhere

use anyhow::Result;
use maskd::publish::{DEFAULT_ENDPOINT, Reader, Received};

#[tokio::main]
async fn main() -> Result<()> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
    // All sites and all cameras there.
    let reader = Reader::open(&[endpoint], None, None, None).await?;
    loop {
        match reader.next().await? {
            Received::Masks { message, .. } => {
                print!("{} frame {}:", message.stream, message.sequence);
                for instance in &message.instances {
                    // Runs of pixels, row by row, become one bool a pixel of the frame.
                    let pixels = instance.mask.decode(Some(message.frame))?;
                    let share = pixels.iter().filter(|inside| **inside).count() as f64 / pixels.len().max(1) as f64;
                    print!(" {} covers {:.1} %", instance.id, 100.0 * share);
                }
                println!();
            }
            Received::Event(event) => println!("{}: {:?}", event.stream, event.event),
            _ => {}
        }
    }
}
