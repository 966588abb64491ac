//! What the black-box tests share: real processes, an HTTP client that can be odd, backends that tell what they saw.
//!
//! Nothing here links a room of Windlass: the programs are driven by their flags, their ports and their pages.

pub mod backend;
pub mod bad;
pub mod cluster;
pub mod fixture;
pub mod http;
pub mod kube;
pub mod load;
pub mod objects;
pub mod place;
pub mod process;
pub mod stream;
pub mod tls;
