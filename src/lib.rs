//! libfluid: local AI behind one C interface.
pub mod error;
