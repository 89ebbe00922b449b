//! First masks from features alone.
