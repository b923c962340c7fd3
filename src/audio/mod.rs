//! Audio in: what a caller hands over.
#![forbid(unsafe_code)]

/// Audio as it came.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Interleaved samples, -1 to 1.
    F32 {
        /// Frame after frame, `channels` values each.
        samples: Vec<f32>,
        /// Frames per second.
        rate: u32,
        /// Channels of a frame.
        channels: u32,
    },
    /// Interleaved samples of 16 bits.
    I16 {
        /// Frame after frame, `channels` values each.
        samples: Vec<i16>,
        /// Frames per second.
        rate: u32,
        /// Channels of a frame.
        channels: u32,
    },
    /// The bytes of an audio file.
    Encoded(Vec<u8>),
    /// The path of an audio file.
    Path(String),
}
