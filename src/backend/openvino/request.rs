//! One inference at a time: tensors in, run or cancel, tensors out.

use std::collections::BTreeMap;
use std::ptr::{null_mut, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use openvino_sys::{self as sys, ov_status_e};

use super::status::{c_string, check};
use super::tensor::{Element, Tensor, View};
use crate::at_exit;
use crate::error::{Error, ErrorKind, Result};

/// How long [`Request::run`] waits before it asks again whether to go on.
pub(super) const SLICE: Duration = Duration::from_millis(10);

/// What [`Request::wait`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The inference has ended, and its outputs are there.
    Done,
    /// It still runs.
    Pending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing ran yet, or what ran failed or was cancelled: outputs hold nothing.
    Empty,
    Running,
    Done,
}

/// An inference request: its tensors, and the state of a stateful model.
///
/// After a cancel it can run again; a stateful model's state then is whatever the cancelled run left, so
/// make a fresh request where that matters.
pub struct Request {
    pointer: NonNull<sys::ov_infer_request_t>,
    state: State,
    /// Whether an inference of its compiled model has ended.
    ran: Arc<AtomicBool>,
    // Held while OpenVINO may read or write their memory.
    inputs: BTreeMap<String, Arc<Tensor>>,
    outputs: BTreeMap<String, Tensor>,
}

// SAFETY: the native object is used by one thread at a time (`&mut`), and none is tied to it.
unsafe impl Send for Request {}

impl Request {
    /// `ran`: whether an inference of its compiled model has ended.
    ///
    /// # Safety
    /// `pointer` is a request that is the caller's to free.
    pub(super) unsafe fn own(
        pointer: NonNull<sys::ov_infer_request_t>,
        ran: Arc<AtomicBool>,
    ) -> Self {
        Self {
            pointer,
            state: State::Empty,
            ran,
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
        }
    }

    /// Gives input `name` a tensor, to be read at each run until another one is given.
    /// Takes a [`Tensor`], or an `Arc` of one that several requests read.
    pub fn set_input(&mut self, name: &str, tensor: impl Into<Arc<Tensor>>) -> Result<()> {
        let tensor = tensor.into();
        self.set(name, &tensor)?;
        self.inputs.insert(name.to_owned(), tensor);
        Ok(())
    }

    /// Has `fill` write input `name`, of `shape`, into the request's own tensor.
    ///
    /// A stateful model that makes a state of an input (Whisper's decoder: the cross-attention's
    /// keys and values) needs this: OpenVINO 2026.4's CPU plugin goes on to read the first tensor
    /// that any request was given for it, also when that is freed.
    pub fn fill_input<T: Element>(
        &mut self,
        name: &str,
        shape: &[usize],
        fill: impl FnOnce(&mut [T]),
    ) -> Result<()> {
        self.idle()?;
        // SAFETY: a tensor made for us by the call; the request is idle, and borrowed by this call.
        let mut tensor = unsafe { Tensor::take(self.tensor(name)?) }?;
        tensor.set_shape(shape)?;
        fill(tensor.slice_mut()?);
        Ok(())
    }

    fn tensor(&self, name: &str) -> Result<*mut sys::ov_tensor_t> {
        let c_name = c_string(name, "the tensor name")?;
        let mut pointer = null_mut();
        let request = self.pointer.as_ptr();
        // SAFETY: the request is alive; a C string; a place for the result.
        let status =
            unsafe { sys::ov_infer_request_get_tensor(request, c_name.as_ptr(), &mut pointer) };
        check(status, ErrorKind::Backend, || format!("reading \"{name}\""))?;
        Ok(pointer)
    }

    /// The tensor given to input `name`, to share with another request.
    pub fn input(&self, name: &str) -> Option<Arc<Tensor>> {
        self.inputs.get(name).cloned()
    }

    /// The tensor given to input `name`, to write in place; `None` where none was given, someone else
    /// reads it too, or an inference runs.
    pub fn input_mut(&mut self, name: &str) -> Option<&mut Tensor> {
        if self.state == State::Running {
            return None;
        }
        self.inputs.get_mut(name).and_then(Arc::get_mut)
    }

    /// Has output `name` written into `tensor` from the next run on, and gives back the tensor
    /// given before, which holds the last run's result. OpenVINO may give `tensor` another shape.
    pub fn set_output(&mut self, name: &str, tensor: Tensor) -> Result<Option<Tensor>> {
        self.set(name, &tensor)?;
        let Some(mut before) = self.outputs.insert(name.to_owned(), tensor) else {
            return Ok(None);
        };
        before.refresh(self.state != State::Done)?;
        Ok(Some(before))
    }

    fn set(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self.idle()?;
        let c_name = c_string(name, "the tensor name")?;
        // SAFETY: request and tensor are alive; a C string. OpenVINO counts its use of the
        // tensor, and `inputs` or `outputs` keeps writers and readers of ours away from it.
        let status = unsafe {
            sys::ov_infer_request_set_tensor(
                self.pointer.as_ptr(),
                c_name.as_ptr(),
                tensor.as_ptr(),
            )
        };
        check(status, ErrorKind::Backend, || {
            format!("setting \"{name}\" to {} {:?}", tensor.element(), tensor.shape())
        })
    }

    /// Output `name` of the last run.
    pub fn output(&self, name: &str) -> Result<View<'_>> {
        if self.state != State::Done {
            let message = format!("\"{name}\" is read without a finished inference");
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let pointer = self.tensor(name)?;
        // SAFETY: made by the call above for us; the request is done, and borrowed so that it
        // cannot run.
        unsafe { View::new(pointer) }
    }

    /// Runs an inference to its end, asking `go_on` every 10 ms. False: it said no, the
    /// inference was cancelled and has ended.
    pub fn run(&mut self, go_on: &dyn Fn() -> bool) -> Result<bool> {
        if !go_on() {
            self.idle()?;
            return Ok(false);
        }
        self.start()?;
        self.finish(go_on)
    }

    /// Waits for a started inference, asking `go_on` every 10 ms; answers as [`run`](Self::run).
    pub fn finish(&mut self, go_on: &dyn Fn() -> bool) -> Result<bool> {
        while self.wait(SLICE)? == Wait::Pending {
            if !go_on() {
                return self.stop();
            }
        }
        Ok(true)
    }

    /// Starts an inference and returns at once.
    pub fn start(&mut self) -> Result<()> {
        self.idle()?;
        self.state = State::Empty;
        // SAFETY: the request is alive and idle.
        let status = unsafe { sys::ov_infer_request_start_async(self.pointer.as_ptr()) };
        check(status, ErrorKind::Backend, || "starting an inference".into())?;
        self.state = State::Running;
        Ok(())
    }

    /// Waits at most `timeout` for a started inference; zero only looks. One that has ended is done
    /// however often it is asked.
    pub fn wait(&mut self, timeout: Duration) -> Result<Wait> {
        if self.state == State::Done {
            return Ok(Wait::Done);
        }
        self.running()?;
        let timeout = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
        // SAFETY: the request is alive.
        let status = unsafe { sys::ov_infer_request_wait_for(self.pointer.as_ptr(), timeout) };
        if status == ov_status_e::RESULT_NOT_READY {
            return Ok(Wait::Pending);
        }
        self.ended(status)?;
        Ok(Wait::Done)
    }

    /// Asks a started inference to stop, and waits until it has. False: it was stopped; true: it
    /// had finished before.
    pub fn stop(&mut self) -> Result<bool> {
        if self.state == State::Done {
            return Ok(true);
        }
        self.running()?;
        // SAFETY: the request is alive.
        let status = unsafe { sys::ov_infer_request_cancel(self.pointer.as_ptr()) };
        let asked = check(status, ErrorKind::Backend, || "cancelling an inference".into());
        // SAFETY: as above. It must have ended, however it does, before tensors are touched.
        let status = unsafe { sys::ov_infer_request_wait(self.pointer.as_ptr()) };
        if status == ov_status_e::INFER_CANCELLED {
            self.note_end();
            self.state = State::Empty;
            return Ok(false);
        }
        self.ended(status)?;
        asked.map(|()| true)
    }

    fn ended(&mut self, status: ov_status_e) -> Result<()> {
        self.note_end();
        self.state = match status {
            ov_status_e::OK => State::Done,
            _ => State::Empty,
        };
        check(status, ErrorKind::Backend, || "an inference failed".into())
    }

    /// A compiled model's first inference makes more of OpenVINO's static objects.
    fn note_end(&self) {
        if !self.ran.swap(true, Ordering::Relaxed) {
            at_exit::set_anew();
        }
    }

    fn idle(&self) -> Result<()> {
        match self.state {
            State::Running => Err(Error::new(ErrorKind::Internal, "an inference still runs")),
            _ => Ok(()),
        }
    }

    fn running(&self) -> Result<()> {
        match self.state {
            State::Running => Ok(()),
            _ => Err(Error::new(ErrorKind::Internal, "no inference was started")),
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        if self.state == State::Running {
            // What it came to is of no use any more; it has ended either way.
            self.stop().ok();
        }
        // SAFETY: ours, idle, freed once, before the tensors it uses.
        unsafe { sys::ov_infer_request_free(self.pointer.as_ptr()) };
    }
}
