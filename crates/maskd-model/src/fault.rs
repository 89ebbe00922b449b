//! What can be wrong with weights.

/// What can be wrong with weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsFault {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(std::io::Error),
    /// The file is neither of the formats, or broken.
    #[error("not a readable .safetensors or .pth file: {0}")]
    Format(String),
    /// A pickle that asks for more than tensors.
    #[error("the pickle asks to use {0}, which no weights need: refused, nothing was run")]
    Unsafe(String),
    /// A tensor that the architecture has and the file has not.
    #[error("tensor {0} is missing")]
    Missing(String),
    /// A tensor that the file has and the architecture has not.
    #[error("tensor {0} is not part of the network")]
    Extra(String),
    /// A tensor of another shape.
    #[error("tensor {name} has shape {found}, expected {expected}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: String,
        /// What the network needs.
        expected: String,
    },
    /// A number type that weights do not come in.
    #[error("tensor {name} is {found}; weights are f16, bf16, f32 or f64")]
    Type {
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// NaN or infinity.
    #[error("tensor {0} holds values that are not finite")]
    NotFinite(String),
    /// The number of heads cannot be told.
    #[error("{}", heads_message(*dim, *given))]
    Heads {
        /// Channels.
        dim: usize,
        /// What was asked for.
        given: Option<usize>,
    },
}

fn heads_message(dim: usize, given: Option<usize>) -> String {
    match given {
        Some(heads) => format!("{heads} heads do not divide {dim} channels"),
        None => format!("{dim} channels are no multiple of 64, so the number of heads must be given (model.heads)"),
    }
}
