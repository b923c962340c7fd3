//! The inputs and outputs of a model, read from OpenVINO as plain data.

use std::ptr::{null_mut, NonNull};

use openvino_sys::{self as sys, ov_status_e};

use super::status::{check, own, take_string};
use super::tensor::{element_type, ElementType};
use crate::error::{ErrorKind, Result};

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// One of its names; empty where it has none. Calls by name take its other names too.
    pub name: String,
    /// What its elements are.
    pub element: ElementType,
    /// Its dimensions, the outermost first; `None` for one that is set at run time. `None` as a
    /// whole where even their number is.
    pub shape: Option<Vec<Option<usize>>>,
}

/// OpenVINO's call that counts the inputs or outputs of a `T`, a model or a compiled model.
///
/// # Safety
/// Who calls it promises a `T` that is alive and that nobody changes meanwhile, and a place to
/// write the number to. It keeps neither.
pub(super) type CountOf<T> = unsafe fn(*const T, *mut usize) -> ov_status_e;

/// OpenVINO's call that makes a handle for one input or output of a `T`, counted from 0; an index
/// beyond the last is an error of the call.
///
/// # Safety
/// Who calls it promises a `T` that is alive and that nobody changes meanwhile, and a place to
/// write the handle to. On success the handle is the caller's, who frees it once with
/// `ov_output_const_port_free`.
pub(super) type PortOf<T> =
    unsafe fn(*const T, usize, *mut *mut sys::ov_output_const_port_t) -> ov_status_e;

/// Reads all inputs or all outputs of `owner`.
///
/// # Safety
/// `owner` is alive, nobody changes it meanwhile, and `count` and `port` are OpenVINO's calls for
/// what it is.
pub(super) unsafe fn ports<T>(
    owner: *const T,
    count: CountOf<T>,
    port: PortOf<T>,
) -> Result<Vec<Port>> {
    let mut size = 0;
    // SAFETY: the caller's promise; a place for the number.
    let status = unsafe { count(owner, &mut size) };
    check(status, ErrorKind::Backend, || "counting a model's ports".into())?;
    let one = |index| {
        let mut pointer = null_mut();
        // SAFETY: the caller's promise; a place for the result.
        let status = unsafe { port(owner, index, &mut pointer) };
        check(status, ErrorKind::Backend, || format!("port {index} of a model"))?;
        OwnedPort(own(pointer, "port")?).describe()
    };
    (0..size).map(one).collect()
}

struct OwnedPort(NonNull<sys::ov_output_const_port_t>);

impl OwnedPort {
    fn describe(&self) -> Result<Port> {
        let port = self.0.as_ptr();
        let mut name = null_mut();
        // SAFETY: the port is alive; a place for the result.
        let name = match unsafe { sys::ov_port_get_any_name(port, &mut name) } {
            // SAFETY: a string that the call made for us.
            ov_status_e::OK => unsafe { take_string(name) },
            // A port without a name is an error to OpenVINO.
            _ => String::new(),
        };
        // SAFETY: as above.
        let element =
            element_type(&name, |out| unsafe { sys::ov_port_get_element_type(port, out) })?;
        Ok(Port { element, shape: self.shape(&name)?, name })
    }

    fn shape(&self, name: &str) -> Result<Option<Vec<Option<usize>>>> {
        let unset = sys::ov_dimension_t { min: 0, max: 0 };
        let mut shape = sys::ov_partial_shape_t { rank: unset, dims: null_mut() };
        // SAFETY: the port is alive; a place for the result.
        let status = unsafe { sys::ov_port_get_partial_shape(self.0.as_ptr(), &mut shape) };
        check(status, ErrorKind::Backend, || format!("the shape of {name}"))?;
        let rank =
            usize::try_from(shape.rank.min).ok().filter(|_| shape.rank.min == shape.rank.max);
        let dims: &[sys::ov_dimension_t] = match rank.filter(|_| !shape.dims.is_null()) {
            // SAFETY: OpenVINO made `rank` dimensions there.
            Some(rank) => unsafe { std::slice::from_raw_parts(shape.dims, rank) },
            None => &[],
        };
        let size = |dim: &sys::ov_dimension_t| {
            usize::try_from(dim.min).ok().filter(|_| dim.min == dim.max)
        };
        let sizes = rank.map(|_| dims.iter().map(size).collect());
        // SAFETY: made by the call above, freed once.
        unsafe { sys::ov_partial_shape_free(&mut shape) };
        Ok(sizes)
    }
}

impl Drop for OwnedPort {
    fn drop(&mut self) {
        // SAFETY: ours, freed once.
        unsafe { sys::ov_output_const_port_free(self.0.as_ptr()) };
    }
}
