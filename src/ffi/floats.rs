//! Floats that the caller owns.

use std::ptr::{null_mut, NonNull};

use crate::error::{Error, ErrorKind, Result};

/// A copy of `values` for the caller to free; null where there are none.
pub(super) fn owned(values: &[f32]) -> Result<*mut f32> {
    if values.is_empty() {
        return Ok(null_mut());
    }
    // C's own memory: a pointer is all that comes back to be freed.
    // SAFETY: takes a size that is not 0.
    let memory = unsafe { libc::malloc(size_of_val(values)) };
    let data = NonNull::new(memory.cast::<f32>()).ok_or_else(|| {
        let message = format!("no memory for {} floats", values.len());
        Error::new(ErrorKind::OutOfMemory, message)
    })?;
    // SAFETY: both are that long, malloc's memory is aligned for any number, and nobody has it yet.
    unsafe { data.as_ptr().copy_from_nonoverlapping(values.as_ptr(), values.len()) };
    Ok(data.as_ptr())
}

/// Frees floats that a function of this library gave you to own. `NULL` does nothing.
///
/// # Safety
/// `data` is `NULL`, or such floats that were not freed yet.
#[no_mangle]
pub unsafe extern "C" fn fluid_floats_free(data: *mut f32) {
    // SAFETY: null, or made by `owned` and not freed before, by the caller's promise.
    unsafe { libc::free(data.cast()) };
}
