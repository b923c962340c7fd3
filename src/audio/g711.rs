//! Telephone samples: ITU-T G.711's A-law and mu-law, which WAV files may hold.
#![forbid(unsafe_code)]

/// From A-law to -1 to 1.
pub(super) fn a_law(byte: u8) -> f32 {
    let byte = byte ^ 0x55;
    let (exponent, mantissa) = ((byte >> 4) & 7, i32::from(byte & 0xf));
    let magnitude = match exponent {
        0 => (mantissa << 4) + 8,
        _ => ((mantissa << 4) + 0x108) << (exponent - 1),
    };
    signed(magnitude, byte & 0x80 != 0)
}

/// From mu-law to -1 to 1.
pub(super) fn mu_law(byte: u8) -> f32 {
    const BIAS: i32 = 0x84;
    let byte = !byte;
    let (exponent, mantissa) = ((byte >> 4) & 7, i32::from(byte & 0xf));
    signed((((mantissa << 3) + BIAS) << exponent) - BIAS, byte & 0x80 == 0)
}

fn signed(magnitude: i32, is_positive: bool) -> f32 {
    let value = magnitude as f32 / 32_768.0;
    if is_positive {
        value
    } else {
        -value
    }
}
