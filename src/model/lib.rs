//! The mesh in our own words.
//!
//! `resolve` makes these values from Kubernetes objects, `translate` makes Envoy resources from them, the proxy and
//! the CA share the identities. Nothing here knows Kubernetes' types, Envoy's types, a clock, a client or a log.
//! Every value is ordered and comparable, so that tables of them are deterministic and equal results stop a change.

mod authentication;
mod authorizer;
mod certificate;
mod cluster;
mod host;
mod identity;
mod infrastructure;
mod listener;
mod name;
pub mod path;
mod policy;
mod route;
mod status;
mod stream;
mod trust;

pub use authentication::{Authentication, JwtRule};
pub use authorizer::{Authorizer, AuthorizerBody, AuthorizerHttp, AuthorizerProtocol};
pub use certificate::{CertificateKey, KeyPair};
pub use cluster::{
    AppProtocol, BackendTls, Cluster, Discovery, Endpoint, Endpoints, Health, Originate, RetryBudget, Shown,
    SubjectName,
};
pub use host::Hostname;
pub use identity::{Identity, IdentityError, TrustDomain};
pub use infrastructure::{DataPlane, Exposure, Infrastructure, Overlay, ServedPort};
pub use listener::{Clients, Listener, ListenerKey, Protocol, Tls};
pub use name::{ObjectKey, ObjectRef};
pub use policy::{
    Action as PolicyAction, Condition as PolicyCondition, ConditionKey, Operation, Policy, Rule as PolicyRule, Source,
    StringMatch, ValueSet,
};
pub use route::{
    Action, AuthProtocol, Backend, Cors, ExternalAuth, HeaderEdit, HeaderEdits, HeaderMatch, Match, Mirror, Origin,
    PathMatch, PathRewrite, QueryMatch, Redirect, Retry, Rewrite, Route, RouteOrder, Session, SessionKind, Steps,
    Timeouts, ValueMatch, VirtualHost, VirtualHostKey,
};
pub use status::{Condition, ListenerStatus, ParentStatus, Status, Verdict};
pub use stream::{Stream, StreamBackend, StreamKey};
pub use trust::{Trust, TrustKey};
