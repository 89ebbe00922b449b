//! All that is known of a stream between two frames. Each part has one owner, and stages get the parts that they name.

use super::{
    TrackerConfig, fixed_camera::FixedCamera, instances::Instances, last_frame::LastFrame, requests::Requests,
    scene::Scene, scene_snapshot::SceneSnapshot, schedule::Schedule,
};
/// The state of one stream.
pub struct State {
    /// The instances that have not ended, and the remembered frames that label them.
    pub instances: Instances,
    /// What was learnt of the scene since it began.
    pub scene: Scene,
    /// The scene before a cut or an outage, while it may come back.
    pub snapshot: Option<SceneSnapshot>,
    /// When the stream is searched for new instances.
    pub schedule: Schedule,
    /// What a fixed camera sees.
    pub camera: FixedCamera,
    /// What people asked for since the last frame.
    pub requests: Requests,
    /// The frame before.
    pub last: LastFrame,
}

impl State {
    /// A stream without instances.
    pub fn new(config: &TrackerConfig) -> Self {
        Self {
            instances: Instances::default(),
            scene: Scene::default(),
            snapshot: None,
            schedule: Schedule::new(config.discovery),
            camera: FixedCamera::new(config.fixed.camera()),
            requests: Requests::default(),
            last: LastFrame::default(),
        }
    }

    /// The features that come from now on are another network's.
    pub fn exchange_network(&mut self) {
        self.camera.forget_features();
        self.snapshot = None;
        let grid = self.last.features.take().map(|features| features.grid);
        self.last.exchanged = grid.or(self.last.exchanged);
    }
}
