//! Where the reference data is.

use std::path::{Path, PathBuf};

use crate::skip::skip;

/// The saliency S/14: a ViT-S/14 in DINOv2's form and names, the backbone of a saliency network. It is not the published
/// DINOv2, whatever the file is called: README.md, "Which files were measured", says where it is from.
#[allow(dead_code, reason = "shared with the trainer's tests")]
pub const SALIENCY_S14: &str = "weights/dinov2-vits14.safetensors";

/// The path of `what` below the shared folder (`MASKD_SHARED`, or `../shared` beside the project);
/// `None` where it is absent: then the test is skipped, and that is said.
pub fn shared(what: &str) -> Option<PathBuf> {
    let path = root().join(what);
    if path.exists() {
        return Some(path);
    }
    let place = "README.md says under 'Data' where it is from, MASKD_SHARED where it is";
    skip(&format!("nothing is tested or measured, {} is absent ({place})", path.display()));
    None
}

/// The shared folder: beside the workspace, whose lock file tells its root from its members'.
fn root() -> PathBuf {
    std::env::var_os("MASKD_SHARED").map_or_else(
        || {
            let package = Path::new(env!("CARGO_MANIFEST_DIR"));
            let project = package.ancestors().find(|folder| folder.join("Cargo.lock").is_file());
            project.unwrap_or(package).join("../shared")
        },
        PathBuf::from,
    )
}
