//! Prompts before they are applied: what can be refused at once, and the bounded queue.

use maskd_types::{
    frame::Size,
    instance::{BBox, Prompt},
    mask::MaskError,
};

/// Prompts that wait for a stream's next frame.
pub const QUEUE: usize = 16;
/// Points in one prompt.
pub const POINTS: usize = 256;

/// A prompt that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum PromptError {
    /// A box without area.
    #[error("prompt: the box is {width}x{height}; give it a width and a height")]
    EmptyBox {
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
    /// A box or point beside the picture.
    #[error("prompt: {what} at ({x}, {y}) is outside the {frame} frame; use pixels of the source frame")]
    OutsideFrame {
        /// "the box" or "a point".
        what: &'static str,
        /// Its left edge.
        x: u32,
        /// Its top edge.
        y: u32,
        /// The frame.
        frame: Size,
    },
    /// Points, but none on the instance.
    #[error("prompt: no positive point; give at least one on the instance")]
    NoPositivePoint,
    /// More points than anyone would click.
    #[error("prompt: {0} points; at most {POINTS} can be used")]
    TooManyPoints(usize),
    /// The mask cannot be read, or has another size than the frame.
    #[error("prompt: {0}")]
    Mask(#[from] MaskError),
    /// A mask without pixels.
    #[error("prompt: the mask is empty; mark at least one pixel")]
    EmptyMask,
    /// As many instances as may live were asked for by people.
    #[error("prompt: {0} instances are followed already; reset, or raise max_instances")]
    TooManyInstances(usize),
    /// The stream delivers no frames, or they come slower than prompts.
    #[error("prompt: {QUEUE} prompts wait for a frame already; try again when the stream runs")]
    QueueFull,
}

/// Checks all that can be known before the frame is there; `source` is the last frame's size, if there was one.
///
/// # Errors
/// Every variant but `TooManyInstances` and `QueueFull`.
pub fn check(prompt: &Prompt, source: Option<Size>) -> Result<(), PromptError> {
    let inside = |what, x: u32, y: u32| match source {
        Some(frame) if x >= frame.width || y >= frame.height => Err(PromptError::OutsideFrame { what, x, y, frame }),
        _ => Ok(()),
    };
    match prompt {
        Prompt::Box { bbox: BBox { x, y, width, height } } => {
            if *width == 0 || *height == 0 {
                return Err(PromptError::EmptyBox { width: *width, height: *height });
            }
            inside("the box", *x, *y)
        }
        Prompt::Points { positive, negative } => {
            if positive.is_empty() {
                return Err(PromptError::NoPositivePoint);
            }
            if positive.len() + negative.len() > POINTS {
                return Err(PromptError::TooManyPoints(positive.len() + negative.len()));
            }
            positive.iter().chain(negative).try_for_each(|&[x, y]| inside("a point", x, y))
        }
        Prompt::Mask { mask } => {
            if mask.decode(source)?.contains(&true) {
                Ok(())
            } else {
                Err(PromptError::EmptyMask)
            }
        }
        Prompt::Reset => Ok(()),
    }
}
