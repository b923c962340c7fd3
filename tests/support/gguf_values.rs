//! Values that GGUF files are damaged with: those at which code breaks.
#![allow(unreachable_pub, reason = "part of a test")]

use super::gguf_names::TEXTS;
use super::{Dice, Value};

impl Dice {
    /// Numbers at which code breaks, and numbers near one that it expects.
    pub fn number(&mut self, near: u64) -> u64 {
        const EDGES: [u64; 22] = [
            0,
            1,
            2,
            3,
            4,
            5,
            7,
            8,
            16,
            31,
            33,
            64,
            100,
            255,
            512,
            513,
            1024,
            65536,
            1 << 31,
            u32::MAX as u64,
            1 << 62,
            u64::MAX,
        ];
        match self.below(6) {
            0 => near.wrapping_add(1),
            1 => near.wrapping_sub(1),
            2 => near.wrapping_mul(2),
            3 => near / 2,
            4 => self.below(300) as u64,
            _ => self.pick(&EDGES),
        }
    }

    pub fn float(&mut self) -> f32 {
        const EDGES: [f32; 12] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            1e-38,
            1e38,
            -1e38,
            1e-5,
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            10000.0,
        ];
        self.pick(&EDGES)
    }

    pub fn value(&mut self, near: u64) -> Value {
        let number = self.number(near);
        let length = self.pick(&[0, 1, 2, 3, 4, 512, 600]);
        match self.below(16) {
            0 => Value::U8(number as u8),
            1 => Value::U16(number as u16),
            2 => Value::I32(number as i32),
            3 => Value::F32(self.float()),
            4 => Value::Bool(self.one_in(2)),
            5 => self.pick(TEXTS).into(),
            6 => Value::U64(number),
            7 => Value::Texts((0..length).map(|_| self.pick(TEXTS).as_bytes().to_vec()).collect()),
            8 => Value::F32s((0..length).map(|_| self.float()).collect()),
            9 => Value::I32s((0..length).map(|_| self.number(near) as i32).collect()),
            10 => Value::U32s((0..length).map(|_| self.number(near) as u32).collect()),
            11 => Value::U8s((0..length).map(|_| self.number(near) as u8).collect()),
            12 => Value::Bools((0..length).map(|_| self.one_in(2)).collect()),
            _ => Value::U32(number as u32),
        }
    }
}
