//! Where models are downloaded from. Whether there is a token is told, never the token.
#![forbid(unsafe_code)]

use super::{Check, Status};
use crate::store::hub::HubOptions;

pub(super) fn settings(options: &HubOptions) -> Check {
    if cfg!(not(feature = "hub")) {
        return Check::new("hub", Status::Info, "this build has no downloads");
    }
    match options.describe() {
        Ok(found) => Check::new("hub", Status::Info, found),
        Err(error) => Check::new("hub", Status::Error, "its settings cannot be used")
            .but(Status::Error, error.message()),
    }
}
