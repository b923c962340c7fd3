//! Owners of OpenVINO's cores, models and compiled models.

use std::ffi::{c_char, CString};
use std::path::Path;
use std::ptr::{null, null_mut, NonNull};
use std::sync::atomic::AtomicBool;
use std::sync::Arc;

use openvino_sys::{self as sys, ov_status_e};

use super::file;
pub use super::port::Port;
use super::port::{ports, CountOf, PortOf};
use super::request::Request;
use super::runtime::Runtime;
use super::status::{c_string, check, own, take_string};
use crate::at_exit;
use crate::error::{Error, ErrorKind, Result};

/// Settings for a compile, as OpenVINO names them, such as `("NUM_STREAMS", "1")`.
pub type Properties<'a> = &'a [(&'a str, &'a str)];

/// The most settings one compile takes.
pub const MAX_PROPERTIES: usize = 12;

/// The one property whose value OpenVINO's C interface reads as a struct of function pointers.
const POINTER_PROPERTY: &str = "CACHE_ENCRYPTION_CALLBACKS";

/// OpenVINO's core: its devices and their settings. Make one for each model; models of one core
/// would share threads.
pub struct Core {
    pointer: NonNull<sys::ov_core_t>,
    runtime: &'static Runtime,
}

// SAFETY: the native core locks what its calls share, and no thread is tied to it.
unsafe impl Send for Core {}

impl Core {
    /// A core of the library that is open.
    pub fn new(runtime: &'static Runtime) -> Result<Self> {
        let mut pointer = null_mut();
        // SAFETY: the library is open, as `runtime` shows; a place for the result.
        let status = unsafe { sys::ov_core_create(&mut pointer) };
        check(status, ErrorKind::Backend, || "OpenVINO does not start".into())?;
        Ok(Self { pointer: own(pointer, "core")?, runtime })
    }

    /// Reads a model: an IR's XML with its weights in `bin`, or beside it where `None`; or an ONNX file.
    /// `NotFound` and `Io` where a file cannot be read, `InvalidModel` where OpenVINO refuses it.
    pub fn read_model(&self, path: &Path, bin: Option<&Path>) -> Result<Model> {
        file::check(path, bin)?;
        let mut pointer = null_mut();
        let status = read(self.pointer.as_ptr(), path, bin, &mut pointer)?;
        at_exit::set_anew();
        check(status, ErrorKind::InvalidModel, || {
            format!("{}: OpenVINO refuses the model", path.display())
        })?;
        let pointer = own(pointer, "model")?;
        let mut model = Model { pointer, inputs: vec![], outputs: vec![] };
        model.read_ports()?;
        Ok(model)
    }

    /// Compiles `model` for `device` (such as `CPU`). This takes seconds and cannot be stopped.
    pub fn compile(
        &self,
        model: &Model,
        device: &str,
        properties: Properties<'_>,
    ) -> Result<Compiled> {
        let c_device = c_string(device, "the device")?;
        let strings = c_pairs(properties)?;
        // The call reads as many of these as its count says; C lets the others be there.
        let mut arg = [null::<c_char>(); 2 * MAX_PROPERTIES];
        for (place, string) in arg.iter_mut().zip(&strings) {
            *place = string.as_ptr();
        }
        let mut out = null_mut();
        let (core, model) = (self.pointer.as_ptr(), model.pointer.as_ptr());
        // SAFETY: core and model are alive; `strings` are as many C strings as the count says,
        // in pairs, and live through the call.
        let status = unsafe {
            (self.runtime.compile_model())(
                core,
                model,
                c_device.as_ptr(),
                strings.len(),
                &mut out,
                arg[0],
                arg[1],
                arg[2],
                arg[3],
                arg[4],
                arg[5],
                arg[6],
                arg[7],
                arg[8],
                arg[9],
                arg[10],
                arg[11],
                arg[12],
                arg[13],
                arg[14],
                arg[15],
                arg[16],
                arg[17],
                arg[18],
                arg[19],
                arg[20],
                arg[21],
                arg[22],
                arg[23],
            )
        };
        at_exit::set_anew();
        check(status, ErrorKind::Backend, || format!("compiling for {device}"))?;
        Compiled::new(own(out, "compiled model")?)
    }

    /// A property of a device as text, such as `FULL_DEVICE_NAME`.
    pub fn property(&self, device: &str, key: &str) -> Result<String> {
        let (c_device, c_key) = (c_string(device, "the device")?, c_string(key, "the property")?);
        let mut value = null_mut();
        let core = self.pointer.as_ptr();
        // SAFETY: the core is alive; C strings; a place for the result.
        let status = unsafe {
            sys::ov_core_get_property(core, c_device.as_ptr(), c_key.as_ptr(), &mut value)
        };
        check(status, ErrorKind::Backend, || format!("{key} of {device}"))?;
        // SAFETY: a string that the call made for us.
        Ok(unsafe { take_string(value) })
    }

    /// The names of the devices that OpenVINO can use now, such as `CPU` and `GPU.0`.
    pub fn available_devices(&self) -> Result<Vec<String>> {
        let mut list = sys::ov_available_devices_t { devices: null_mut(), size: 0 };
        // SAFETY: the core is alive; a place for the result.
        let status =
            unsafe { sys::ov_core_get_available_devices(self.pointer.as_ptr(), &mut list) };
        at_exit::set_anew();
        check(status, ErrorKind::Backend, || "listing devices".into())?;
        let names: &[*mut c_char] = match list.devices.is_null() {
            true => &[],
            // SAFETY: OpenVINO made `size` strings there.
            false => unsafe { std::slice::from_raw_parts(list.devices, list.size) },
        };
        let copy = |name: &*mut c_char| {
            // SAFETY: one of the strings of the list, which is not freed yet.
            unsafe { std::ffi::CStr::from_ptr(*name) }.to_string_lossy().into_owned()
        };
        let names = names.iter().filter(|name| !name.is_null()).map(copy).collect();
        // SAFETY: made by the call above, freed once.
        unsafe { sys::ov_available_devices_free(&mut list) };
        Ok(names)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // SAFETY: ours, freed once. What was compiled keeps its plugin alive itself.
        unsafe { sys::ov_core_free(self.pointer.as_ptr()) };
    }
}

fn c_pairs(properties: Properties<'_>) -> Result<Vec<CString>> {
    if properties.len() > MAX_PROPERTIES {
        let message = format!("{} properties; at most {MAX_PROPERTIES}", properties.len());
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    if let Some((key, _)) = properties.iter().find(|(key, _)| *key == POINTER_PROPERTY) {
        let message = format!("{key} is no property of text");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let texts = properties.iter().flat_map(|(key, value)| [key, value]);
    texts.map(|text| c_string(text, "the property")).collect()
}

fn read(
    core: *const sys::ov_core_t,
    path: &Path,
    bin: Option<&Path>,
    out: &mut *mut sys::ov_model_t,
) -> Result<ov_status_e> {
    let (path, bin) = (native(path)?, bin.map(native).transpose()?);
    let bin = bin.as_ref().map_or(null(), |bin| bin.as_ptr());
    // SAFETY: the caller's core is alive; C strings or null; a place for the result.
    #[cfg(unix)]
    let status = unsafe { sys::ov_core_read_model(core, path.as_ptr(), bin, out) };
    // The narrow call reads paths in the system's code page.
    // SAFETY: as above, in UTF-16.
    #[cfg(windows)]
    let status =
        unsafe { sys::ov_core_read_model_unicode(core, path.as_ptr().cast(), bin.cast(), out) };
    Ok(status)
}

/// A path as OpenVINO takes it, with a final NUL.
#[cfg(unix)]
fn native(path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(ErrorKind::InvalidArgument, "the path contains a NUL"))
}

/// A path as OpenVINO takes it, with a final NUL.
#[cfg(windows)]
fn native(path: &Path) -> Result<Vec<u16>> {
    use std::os::windows::ffi::OsStrExt;
    Ok(path.as_os_str().encode_wide().chain([0]).collect())
}

/// A model as read from its files, not ready to run.
pub struct Model {
    pointer: NonNull<sys::ov_model_t>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

// SAFETY: a graph in memory that no thread is tied to; every change takes `&mut`.
unsafe impl Send for Model {}

impl Model {
    /// What it takes.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What it gives.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Gives inputs, by name, their shapes. `InvalidModel` where the model cannot take them.
    pub fn reshape(&mut self, shapes: &[(&str, &[usize])]) -> Result<()> {
        let strings = shapes.iter().map(|(name, _)| c_string(name, "the tensor name"));
        let strings = strings.collect::<Result<Vec<CString>>>()?;
        let fixed = |&size: &usize| {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            sys::ov_dimension_t { min: size, max: size }
        };
        let dims = shapes.iter().map(|(_, shape)| shape.iter().map(fixed).collect());
        let mut dims: Vec<Vec<sys::ov_dimension_t>> = dims.collect();
        let partial = dims.iter_mut().map(|dims| sys::ov_partial_shape_t {
            rank: fixed(&dims.len()),
            dims: dims.as_mut_ptr(),
        });
        let partial: Vec<sys::ov_partial_shape_t> = partial.collect();
        let mut names: Vec<*const c_char> = strings.iter().map(|name| name.as_ptr()).collect();
        let (names, shapes) = (names.as_mut_ptr(), partial.as_ptr());
        // SAFETY: the model is alive and ours to change; as many names and shapes as are said, which
        // OpenVINO only reads, and which live through the call.
        let status =
            unsafe { sys::ov_model_reshape(self.pointer.as_ptr(), names, shapes, partial.len()) };
        check(status, ErrorKind::InvalidModel, || "the model does not take these sizes".into())?;
        self.read_ports()
    }

    fn read_ports(&mut self) -> Result<()> {
        self.inputs = self.ports(sys::ov_model_inputs_size, sys::ov_model_const_input_by_index)?;
        self.outputs =
            self.ports(sys::ov_model_outputs_size, sys::ov_model_const_output_by_index)?;
        Ok(())
    }

    fn ports(
        &self,
        count: CountOf<sys::ov_model_t>,
        port: PortOf<sys::ov_model_t>,
    ) -> Result<Vec<Port>> {
        // SAFETY: the model is alive and borrowed, and the functions are OpenVINO's for models.
        unsafe { ports(self.pointer.as_ptr(), count, port) }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: ours, freed once.
        unsafe { sys::ov_model_free(self.pointer.as_ptr()) };
    }
}

/// A model ready to run on a device. Any thread may make requests of it.
pub struct Compiled {
    pointer: NonNull<sys::ov_compiled_model_t>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Whether an inference has ended.
    ran: Arc<AtomicBool>,
}

// SAFETY: the native object is reference-counted, and no thread is tied to it.
unsafe impl Send for Compiled {}
// SAFETY: making requests and reading properties are const calls that lock for themselves.
unsafe impl Sync for Compiled {}

impl Compiled {
    fn new(pointer: NonNull<sys::ov_compiled_model_t>) -> Result<Self> {
        let mut compiled = Self { pointer, inputs: vec![], outputs: vec![], ran: Arc::default() };
        let pointer = pointer.as_ptr();
        // SAFETY: the compiled model is alive, nothing changes one, and the functions are OpenVINO's
        // for them.
        compiled.inputs = unsafe {
            ports(
                pointer,
                sys::ov_compiled_model_inputs_size,
                sys::ov_compiled_model_input_by_index,
            )
        }?;
        // SAFETY: as above.
        compiled.outputs = unsafe {
            ports(
                pointer,
                sys::ov_compiled_model_outputs_size,
                sys::ov_compiled_model_output_by_index,
            )
        }?;
        Ok(compiled)
    }

    /// What it takes.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What it gives.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// A request with state of its own, empty at first. Costs a fraction of a millisecond.
    pub fn request(&self) -> Result<Request> {
        let mut pointer = null_mut();
        let compiled = self.pointer.as_ptr();
        // SAFETY: the compiled model is alive; a place for the result.
        let status = unsafe { sys::ov_compiled_model_create_infer_request(compiled, &mut pointer) };
        check(status, ErrorKind::Backend, || "making an inference request".into())?;
        // SAFETY: made by the call above for us.
        Ok(unsafe { Request::own(own(pointer, "request")?, Arc::clone(&self.ran)) })
    }

    /// A property as text, such as `EXECUTION_DEVICES`.
    pub fn property(&self, key: &str) -> Result<String> {
        let c_key = c_string(key, "the property")?;
        let mut value = null_mut();
        let compiled = self.pointer.as_ptr();
        // SAFETY: the compiled model is alive; a C string; a place for the result.
        let status =
            unsafe { sys::ov_compiled_model_get_property(compiled, c_key.as_ptr(), &mut value) };
        check(status, ErrorKind::Backend, || format!("{key} of a compiled model"))?;
        // SAFETY: a string that the call made for us.
        Ok(unsafe { take_string(value) })
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        // SAFETY: ours, freed once. Requests keep what they need alive themselves.
        unsafe { sys::ov_compiled_model_free(self.pointer.as_ptr()) };
    }
}
