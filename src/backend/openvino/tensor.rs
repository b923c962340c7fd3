//! Tensors in memory that one owner writes, or many read.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::{null_mut, NonNull};

pub use openvino::ElementType;
use openvino_sys::{self as sys, ov_element_type_e, ov_shape_t, ov_tensor_t};

use super::status::check;
use crate::error::{Error, ErrorKind, Result};

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that a tensor's elements can be read as: any bits are a value of it.
pub trait Element: Copy + sealed::Sealed + 'static {
    /// What OpenVINO calls it.
    const TYPE: ElementType;
}

macro_rules! elements {
    ($($rust:ty => $name:ident),*) => {$(
        impl sealed::Sealed for $rust {}
        impl Element for $rust {
            const TYPE: ElementType = ElementType::$name;
        }
    )*};
}

elements!(f32 => F32, i32 => I32, i64 => I64, u8 => U8);

/// The native object, and where its elements are; freed once.
struct Raw {
    pointer: NonNull<ov_tensor_t>,
    element: ElementType,
    shape: Vec<usize>,
    // Null only where there are no elements.
    data: *mut c_void,
    // Elements, the product of the shape.
    len: usize,
}

impl Raw {
    /// Takes over a native tensor.
    ///
    /// # Safety
    /// `pointer` is null or a tensor of OpenVINO's that is the caller's to free.
    unsafe fn take(pointer: *mut ov_tensor_t) -> Result<Self> {
        let pointer = NonNull::new(pointer).ok_or_else(|| {
            Error::new(ErrorKind::Backend, "OpenVINO gave no tensor and no error")
        })?;
        let mut raw = Self {
            pointer,
            element: ElementType::Dynamic,
            shape: vec![],
            data: null_mut(),
            len: 0,
        };
        raw.refresh()?;
        Ok(raw)
    }

    /// Reads again what an inference may have changed.
    fn refresh(&mut self) -> Result<()> {
        let tensor = self.pointer.as_ptr();
        self.len = 0;
        self.element = element_type("a tensor", |out| {
            // SAFETY: the tensor is alive, and `out` is a place for the number.
            unsafe { sys::ov_tensor_get_element_type(tensor, out) }
        })?;
        self.shape = shape_of(tensor)?;
        let mut len = 0;
        // SAFETY: as above.
        let status = unsafe { sys::ov_tensor_get_size(tensor, &mut len) };
        check(status, ErrorKind::Backend, || "the size of a tensor".into())?;
        let mut bytes = 0;
        // SAFETY: as above.
        let status = unsafe { sys::ov_tensor_get_byte_size(tensor, &mut bytes) };
        check(status, ErrorKind::Backend, || "the size of a tensor".into())?;
        if len > 0 {
            // SAFETY: as above.
            let status = unsafe { sys::ov_tensor_data(tensor, &mut self.data) };
            check(status, ErrorKind::Backend, || "the data of a tensor".into())?;
        }
        // Only now: slices are made of `len` elements.
        match element_size(self.element) {
            Some(size)
                if len.checked_mul(size) == Some(bytes) && (len == 0 || !self.data.is_null()) =>
            {
                self.len = len;
            }
            Some(_) => {
                let message = format!("a tensor of {len} {} in {bytes} bytes", self.element);
                return Err(Error::new(ErrorKind::Backend, message));
            }
            // Of a type that is never read as a slice.
            None => {}
        }
        Ok(())
    }

    /// Where the elements are; an error for another type than `T`, or data that is not aligned.
    fn elements<T: Element>(&self) -> Result<NonNull<T>> {
        if self.element != T::TYPE {
            let message = format!("a tensor of {} is read as {}", self.element, T::TYPE);
            return Err(Error::new(ErrorKind::Backend, message));
        }
        match NonNull::new(self.data.cast::<T>()).filter(|_| self.len > 0) {
            None => Ok(NonNull::dangling()),
            Some(data) if data.is_aligned() => Ok(data),
            Some(_) => Err(Error::new(ErrorKind::Backend, "a tensor whose data is not aligned")),
        }
    }

    fn slice<T: Element>(&self) -> Result<&[T]> {
        let data = self.elements::<T>()?;
        // SAFETY: `refresh` saw `len` elements of this size at `data`, which the tensor owns.
        // Nothing writes them while `self` is borrowed: see `Tensor` and `View`.
        Ok(unsafe { std::slice::from_raw_parts(data.as_ptr(), self.len) })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: ours, freed once. A request that still has it keeps the memory itself.
        unsafe { sys::ov_tensor_free(self.pointer.as_ptr()) };
    }
}

/// A tensor of our own, zero at first.
///
/// A request reads it through an [`Arc`](std::sync::Arc), so that nobody can write it meanwhile;
/// a request that writes it owns it.
pub struct Tensor(Raw);

// SAFETY: the native object is a reference-counted buffer that no thread is tied to.
unsafe impl Send for Tensor {}
// SAFETY: through `&Tensor` only fields of ours and the elements are read.
unsafe impl Sync for Tensor {}

impl Tensor {
    /// A tensor of zeros. `OutOfMemory` where its size is beyond what can be had.
    pub fn new(element: ElementType, shape: &[usize]) -> Result<Self> {
        let mut tensor = Self::unwritten(element, shape)?;
        tensor.clear();
        Ok(tensor)
    }

    /// A tensor whose elements are to be written before anybody reads them.
    fn unwritten(element: ElementType, shape: &[usize]) -> Result<Self> {
        let describe = || format!("a tensor of {element} {shape:?}");
        let too_large =
            || Error::new(ErrorKind::OutOfMemory, format!("{} is too large", describe()));
        let mut dims = Vec::with_capacity(shape.len());
        let mut bytes = element_size(element).ok_or_else(|| {
            Error::new(ErrorKind::Internal, format!("{} cannot be made", describe()))
        })?;
        for &size in shape {
            dims.push(i64::try_from(size).map_err(|_| too_large())?);
            bytes = bytes.checked_mul(size.max(1)).ok_or_else(too_large)?;
        }
        if isize::try_from(bytes).is_err() {
            return Err(too_large());
        }
        let shape = ov_shape_t { rank: dims.len() as i64, dims: dims.as_mut_ptr() };
        let mut pointer = null_mut();
        // SAFETY: `shape` names `rank` dimensions, which the call copies.
        let status = unsafe { sys::ov_tensor_create(element.into(), shape, &mut pointer) };
        check(status, ErrorKind::OutOfMemory, describe)?;
        // SAFETY: made by the call above for us.
        Ok(Self(unsafe { Raw::take(pointer) }?))
    }

    /// A tensor that holds a copy of `elements`, whose number must be the product of `shape`.
    pub fn of<T: Element>(shape: &[usize], elements: &[T]) -> Result<Self> {
        let tensor = Self::unwritten(T::TYPE, shape)?;
        let room = tensor.0.elements::<T>()?;
        if tensor.0.len != elements.len() {
            let message = format!("{} elements for a tensor of {shape:?}", elements.len());
            return Err(Error::new(ErrorKind::Internal, message));
        }
        // SAFETY: `room` is for `len` elements, which nobody else knows of yet.
        unsafe { elements.as_ptr().copy_to_nonoverlapping(room.as_ptr(), elements.len()) };
        Ok(tensor)
    }

    /// The sizes of its dimensions, the outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    /// What its elements are.
    pub fn element(&self) -> ElementType {
        self.0.element
    }

    /// Its elements, row after row; an error where they are no `T`.
    pub fn slice<T: Element>(&self) -> Result<&[T]> {
        self.0.slice()
    }

    /// [`slice`](Self::slice), to write.
    pub fn slice_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let data = self.0.elements::<T>()?;
        // SAFETY: as in `Raw::slice`, and `&mut self` says that nobody reads or writes: a
        // request that has this tensor holds an `Arc` of it or owns it.
        Ok(unsafe { std::slice::from_raw_parts_mut(data.as_ptr(), self.0.len) })
    }

    pub(super) fn as_ptr(&self) -> *const ov_tensor_t {
        self.0.pointer.as_ptr()
    }

    /// The tensor that a request itself has for an input.
    ///
    /// # Safety
    /// `pointer` is null or a tensor that is the caller's to free; nothing reads or writes its
    /// elements while the result lives.
    pub(super) unsafe fn take(pointer: *mut ov_tensor_t) -> Result<Self> {
        // SAFETY: the caller's promise.
        unsafe { Raw::take(pointer) }.map(Self)
    }

    /// Gives it another shape; what the elements are then is not said.
    pub(super) fn set_shape(&mut self, shape: &[usize]) -> Result<()> {
        let dims = shape.iter().map(|&size| i64::try_from(size));
        let mut dims = dims.collect::<std::result::Result<Vec<i64>, _>>().map_err(|_| {
            Error::new(ErrorKind::OutOfMemory, format!("a tensor of {shape:?} is too large"))
        })?;
        let new = ov_shape_t { rank: dims.len() as i64, dims: dims.as_mut_ptr() };
        // SAFETY: the tensor is alive, and `&mut self` says that nobody reads it; the call copies
        // the `rank` dimensions.
        let status = unsafe { sys::ov_tensor_set_shape(self.0.pointer.as_ptr(), new) };
        check(status, ErrorKind::Backend, || format!("giving a tensor the shape {shape:?}"))?;
        self.0.refresh()
    }

    /// Reads again what an inference into this tensor may have changed; with `clear`, zeros it.
    pub(super) fn refresh(&mut self, clear: bool) -> Result<()> {
        self.0.refresh()?;
        if clear {
            self.clear();
        }
        Ok(())
    }

    fn clear(&mut self) {
        let bytes = element_size(self.0.element).unwrap_or(0).saturating_mul(self.0.len);
        if bytes > 0 {
            // SAFETY: `refresh` saw that many bytes there, and `&mut self` is the only owner.
            unsafe { std::ptr::write_bytes(self.0.data.cast::<u8>(), 0, bytes) };
        }
    }
}

/// An output of a request, until the request runs again.
pub struct View<'a> {
    raw: Raw,
    // The request is borrowed, so that it cannot run and write while this is read.
    _request: PhantomData<&'a ()>,
}

impl<'a> View<'a> {
    /// # Safety
    /// `pointer` is null or a tensor that is the caller's to free, which holds the result of an
    /// inference, and nothing writes to it during `'a`.
    pub(super) unsafe fn new(pointer: *mut ov_tensor_t) -> Result<Self> {
        // SAFETY: the caller's promise.
        Ok(Self { raw: unsafe { Raw::take(pointer) }?, _request: PhantomData })
    }

    /// The sizes of its dimensions, the outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.raw.shape
    }

    /// What its elements are.
    pub fn element(&self) -> ElementType {
        self.raw.element
    }

    /// Its elements, row after row; an error where they are no `T`.
    pub fn slice<T: Element>(&self) -> Result<&[T]> {
        self.raw.slice()
    }
}

/// Bytes of one element, where it has whole ones and no destructor.
fn element_size(element: ElementType) -> Option<usize> {
    match element {
        ElementType::F64 | ElementType::I64 | ElementType::U64 => Some(8),
        ElementType::F32 | ElementType::I32 | ElementType::U32 => Some(4),
        ElementType::F16 | ElementType::Bf16 | ElementType::I16 | ElementType::U16 => Some(2),
        ElementType::I8 | ElementType::U8 | ElementType::Boolean => Some(1),
        _ => None,
    }
}

/// Asks OpenVINO for an element type as a number, and checks that the number is one.
pub(super) fn element_type(
    what: &str,
    ask: impl FnOnce(*mut ov_element_type_e) -> sys::ov_status_e,
) -> Result<ElementType> {
    let mut number = 0u32;
    check(ask((&raw mut number).cast()), ErrorKind::Backend, || format!("the type of {what}"))?;
    if number > ov_element_type_e::F8E8M0 as u32 {
        let message = format!("{what} is of the element type {number}, which this build lacks");
        return Err(Error::new(ErrorKind::UnsupportedModel, message));
    }
    // SAFETY: the enum is a u32 that names each number from 0 to F8E8M0.
    let element: ov_element_type_e = unsafe { std::mem::transmute(number) };
    Ok(element.into())
}

fn shape_of(tensor: *const ov_tensor_t) -> Result<Vec<usize>> {
    let mut shape = ov_shape_t { rank: 0, dims: null_mut() };
    // SAFETY: the caller's tensor is alive, and `shape` is a place for the answer.
    let status = unsafe { sys::ov_tensor_get_shape(tensor, &mut shape) };
    check(status, ErrorKind::Backend, || "the shape of a tensor".into())?;
    let rank = usize::try_from(shape.rank).unwrap_or(0);
    let dims: &[i64] = match shape.dims.is_null() {
        true => &[],
        // SAFETY: OpenVINO made `rank` numbers there.
        false => unsafe { std::slice::from_raw_parts(shape.dims, rank) },
    };
    let sizes = dims.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    // SAFETY: made by the call above, freed once.
    unsafe { sys::ov_shape_free(&mut shape) };
    Ok(sizes)
}
