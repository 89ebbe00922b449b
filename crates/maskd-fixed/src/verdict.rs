//! Whether a camera is fixed: most of what it shows stays where it is, though it may be shaken.

/// Share of the picture that must look like the scene before a camera counts as fixed.
pub const ENTER: f32 = 0.8;
/// Share below which it no longer does.
pub const LEAVE: f32 = 0.5;
/// Seconds that it must look so for, before it counts as fixed, and before it no longer does.
pub const SECONDS: (f32, f32) = (1.0, 0.6);
/// A shift of fewer pixels is no pan.
const PAN: f32 = 3.0;
/// Seconds over which frames that move one way make a pan.
const COURSE: f32 = 1.0;
/// Seconds for which it is remembered how the camera has been shaken.
const MEMORY: f32 = 2.0;
/// A pan over more pixels shows another scene.
const AWAY: f32 = 20.0;

/// A verdict, and the measures that it goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// Whether the camera is known to be fixed.
    pub fixed: bool,
    /// Share of the picture that looks like the scene, things left out.
    pub same: f32,
    /// Pixels by which the picture is shifted against the scene, `(x, y)`.
    pub shift: (f32, f32),
}

/// What is known of a camera.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    fixed: bool,
    /// Seconds that speak for the other verdict.
    doubt: f32,
    /// Seconds for which little has looked like the scene.
    strange: f32,
    /// Pixels that the picture has been shifted by, one way and the other.
    way: f32,
    shift: (f32, f32),
    /// Pixels that frames have moved by of late, from one to the next, and all of that way.
    course: (f32, f32),
    course_way: f32,
}

impl Verdict {
    /// Whether the camera is fixed.
    pub fn fixed(&self) -> bool {
        self.fixed
    }

    /// Takes the pixels that the picture has moved by since the frame before, while the camera is not known to be fixed.
    pub fn moved(&mut self, by: (f32, f32), dt: f32) {
        let keep = (-dt / COURSE).exp();
        self.course = (keep * self.course.0 + by.0, keep * self.course.1 + by.1);
        self.course_way = keep * self.course_way + by.0.hypot(by.1);
        let net = self.course.0.hypot(self.course.1);
        if net > PAN && net > 0.6 * self.course_way {
            self.doubt = 0.0;
        }
    }

    /// Takes what `dt` seconds have shown: the share of the picture that looks like the scene, and its shift in pixels. True
    /// where the scene is another one by now, and is to be learnt anew.
    pub fn step(&mut self, same: f32, shift: (f32, f32), dt: f32) -> bool {
        // Where the shift is not known, the way is not known either.
        let lost = shift == (0.0, 0.0) && same < ENTER;
        if !lost {
            self.way *= (-dt / MEMORY).exp();
            self.way += (shift.0 - self.shift.0).hypot(shift.1 - self.shift.1);
            self.shift = shift;
        }
        let net = shift.0.hypot(shift.1);
        // What shakes comes back; what pans goes on.
        let pans = net > PAN && net > 0.5 * self.way;
        let agrees = if self.fixed { same >= LEAVE } else { same >= ENTER && !pans };
        if agrees != self.fixed {
            self.doubt += dt;
        } else {
            self.doubt = 0.0;
        }
        self.strange = if same < LEAVE || pans { self.strange + dt } else { 0.0 };
        let another = self.strange >= SECONDS.1 || (pans && net > AWAY);
        if self.doubt >= if self.fixed { SECONDS.1 } else { SECONDS.0 } {
            *self = Self { fixed: !self.fixed, ..Self::default() };
        }
        if another {
            *self = Self::default();
        }
        another
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(frames: impl Iterator<Item = (f32, (f32, f32))>) -> bool {
        let mut verdict = Verdict::default();
        frames.for_each(|(same, shift)| _ = verdict.step(same, shift, 0.04));
        verdict.fixed()
    }

    #[test]
    fn a_still_and_a_shaken_camera_are_fixed_and_a_pan_is_not() {
        assert!(after((0..40).map(|_| (0.95, (0.0, 0.0)))));
        assert!(after((0..40).map(|i| (0.9, (if i % 2 == 0 { 6.0 } else { -6.0 }, 0.0)))));
        assert!(!after((0..25).map(|i| (0.9, (i as f32, 0.0)))));
        assert!(!after((0..25).map(|_| (0.3, (0.0, 0.0)))));
    }

    #[test]
    fn a_camera_that_is_turned_is_fixed_no_longer() {
        let still = (0..40).map(|_| (0.95, (0.0, 0.0)));
        assert!(!after(still.clone().chain((0..20).map(|_| (0.2, (0.0, 0.0))))));
        assert!(after(still.chain((0..10).map(|_| (0.2, (0.0, 0.0))))), "a moment of fog");
    }
}
