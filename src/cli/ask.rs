//! Asking the data path of every Gateway in some files what it would do with a request, and telling it in the words of
//! the objects. `why` asks about one request, `simulate` about many.

mod grpc;
mod request;
mod stage;
mod verdict;

pub use request::{Headers, Request};
pub use stage::Stage;
pub use verdict::{Outcome, Verdict};
