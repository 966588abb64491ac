//! The names that the data path itself looks at.

/// Names that the data path itself looks at, told apart once when a field is stored.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Host,
    Connection,
    KeepAlive,
    ProxyConnection,
    TransferEncoding,
    ContentLength,
    Te,
    Trailer,
    Upgrade,
    Http2Settings,
    Expect,
    Server,
    Date,
    ForwardedFor,
    ForwardedProto,
    ForwardedClientCert,
    RequestId,
    /// `x-envoy-…`
    Envoy,
    Other,
}

impl Known {
    /// What a name in lower case means.
    pub(crate) fn of(name: &[u8]) -> Self {
        match name {
            b"te" => Self::Te,
            b"host" => Self::Host,
            b"date" => Self::Date,
            b"expect" => Self::Expect,
            b"server" => Self::Server,
            b"upgrade" => Self::Upgrade,
            b"trailer" => Self::Trailer,
            b"connection" => Self::Connection,
            b"keep-alive" => Self::KeepAlive,
            b"content-length" => Self::ContentLength,
            b"x-request-id" => Self::RequestId,
            b"x-forwarded-for" => Self::ForwardedFor,
            b"x-forwarded-proto" => Self::ForwardedProto,
            b"x-forwarded-client-cert" => Self::ForwardedClientCert,
            b"http2-settings" => Self::Http2Settings,
            b"proxy-connection" => Self::ProxyConnection,
            b"transfer-encoding" => Self::TransferEncoding,
            _ if name.starts_with(b"x-envoy-") => Self::Envoy,
            _ => Self::Other,
        }
    }
}
