//! From the states of a text's tokens to its vector: pooling, cutting, length 1.
#![forbid(unsafe_code)]

use crate::error::{Error, ErrorKind, Result};
use crate::request::Pooling;

/// How vectors are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) pooling: Pooling,
    /// Numbers to keep, the first ones: in models trained for it (Matryoshka, Kusupati et al. 2022)
    /// they are a vector of their own.
    pub(super) dimensions: usize,
    /// Whether the length becomes 1.
    pub(super) normalize: bool,
}

impl Recipe {
    /// Appends the vector of a text of `count` tokens to `vectors`; `add_state` adds the numbers of
    /// one token's state to those it is given.
    pub(super) fn make(
        self,
        count: usize,
        vectors: &mut Vec<f32>,
        mut add_state: impl FnMut(usize, &mut [f32]) -> Result<()>,
    ) -> Result<()> {
        let start = vectors.len();
        vectors.resize(start + self.dimensions, 0.0);
        let vector = &mut vectors[start..];
        match self.pooling {
            Pooling::Mean => {
                for token in 0..count {
                    add_state(token, vector)?;
                }
                scale(vector, 1.0 / count as f32);
            }
            Pooling::Cls => add_state(0, vector)?,
            Pooling::Last => add_state(count - 1, vector)?,
        }
        let made = finish(vector, self.normalize);
        if made.is_err() {
            vectors.truncate(start);
        }
        made
    }
}

fn scale(vector: &mut [f32], factor: f32) {
    vector.iter_mut().for_each(|value| *value *= factor);
}

/// A vector of zeros stays one: it has no direction.
fn finish(vector: &mut [f32], normalize: bool) -> Result<()> {
    let square: f64 = vector.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
    if !square.is_finite() {
        let message = "the model computed no usable vector; the file may be damaged";
        return Err(Error::new(ErrorKind::Backend, message));
    }
    if normalize && square > 0.0 {
        scale(vector, (1.0 / square.sqrt()) as f32);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [[f32; 4]; 2] = [[3.0, 0.0, 4.0, 1.0], [1.0, 2.0, 0.0, 1.0]];

    fn vector(pooling: Pooling, dimensions: usize, normalize: bool) -> Vec<f32> {
        let recipe = Recipe { pooling, dimensions, normalize };
        let mut vectors = vec![9.0];
        let made = recipe.make(2, &mut vectors, |token, sum| {
            sum.iter_mut().zip(STATES[token]).for_each(|(sum, value)| *sum += value);
            Ok(())
        });
        made.expect("finite");
        assert_eq!(vectors[0], 9.0);
        vectors[1..].to_vec()
    }

    #[test]
    fn pooling_cutting_and_length() {
        assert_eq!(vector(Pooling::Mean, 4, false), [2.0, 1.0, 2.0, 1.0]);
        assert_eq!(vector(Pooling::Cls, 4, false), [3.0, 0.0, 4.0, 1.0]);
        assert_eq!(vector(Pooling::Last, 2, false), [1.0, 2.0]);
        // Normalised after it is cut.
        assert_eq!(vector(Pooling::Cls, 3, true), [0.6, 0.0, 0.8]);
    }

    #[test]
    fn what_has_no_direction() {
        let recipe = Recipe { pooling: Pooling::Mean, dimensions: 2, normalize: true };
        let mut vectors = Vec::new();
        recipe.make(3, &mut vectors, |_, _| Ok(())).expect("zeros");
        assert_eq!(vectors, [0.0, 0.0]);
        let nan = |_, sum: &mut [f32]| {
            sum[1] = f32::NAN;
            Ok(())
        };
        let error = recipe.make(1, &mut vectors, nan).expect_err("not a number");
        assert_eq!((error.kind(), vectors.len()), (ErrorKind::Backend, 2));
    }
}
