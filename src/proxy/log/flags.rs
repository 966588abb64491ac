//! Envoy's response flags: why a request ended as it did.

/// One flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    /// `UH`: no healthy endpoint.
    NoHealthyUpstream,
    /// `UF`: no connection to the endpoint.
    UpstreamConnectionFailure,
    /// `UO`: a circuit breaker.
    UpstreamOverflow,
    /// `NR`: no route.
    NoRoute,
    /// `NC`: the route's cluster doesn't exist.
    NoCluster,
    /// `UT`: the route's timeout.
    UpstreamRequestTimeout,
    /// `UR`: the backend reset the stream.
    UpstreamRemoteReset,
    /// `UC`: the backend closed the connection.
    UpstreamConnectionTermination,
    /// `LR`: we reset the stream.
    LocalReset,
    /// `UPE`: what the backend sent is no HTTP.
    UpstreamProtocolError,
    /// `DC`: the client went away.
    DownstreamConnectionTermination,
    /// `DR`: the client reset the stream.
    DownstreamRemoteReset,
    /// `DPE`: what the client sent is no HTTP.
    DownstreamProtocolError,
    /// `DT`: the request as a whole took too long.
    DurationTimeout,
    /// `URX`: all retries were used, or the connection attempts.
    UpstreamRetryLimitExceeded,
    /// `SI`: nothing moved on the stream.
    StreamIdleTimeout,
    /// `OM`: overload.
    OverloadManager,
    /// `UAEX`: denied by a policy.
    Unauthorized,
    /// `DF`: the name of the backend does not resolve.
    DnsResolutionFailed,
}

impl Flag {
    /// In the order in which Envoy writes them.
    const ALL: [(Flag, &'static str); 19] = [
        (Flag::NoHealthyUpstream, "UH"),
        (Flag::UpstreamRequestTimeout, "UT"),
        (Flag::LocalReset, "LR"),
        (Flag::UpstreamRemoteReset, "UR"),
        (Flag::UpstreamConnectionFailure, "UF"),
        (Flag::UpstreamConnectionTermination, "UC"),
        (Flag::UpstreamOverflow, "UO"),
        (Flag::NoRoute, "NR"),
        (Flag::Unauthorized, "UAEX"),
        (Flag::DownstreamConnectionTermination, "DC"),
        (Flag::UpstreamRetryLimitExceeded, "URX"),
        (Flag::StreamIdleTimeout, "SI"),
        (Flag::DownstreamProtocolError, "DPE"),
        (Flag::UpstreamProtocolError, "UPE"),
        (Flag::DurationTimeout, "DT"),
        (Flag::NoCluster, "NC"),
        (Flag::OverloadManager, "OM"),
        (Flag::DnsResolutionFailed, "DF"),
        (Flag::DownstreamRemoteReset, "DR"),
    ];
}

/// A set of flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);

    /// Adds a flag.
    pub fn set(&mut self, flag: Flag) {
        self.0 |= 1 << flag as u8;
    }

    /// This set with one more flag.
    pub fn with(mut self, flag: Flag) -> Self {
        self.set(flag);
        self
    }

    /// Whether the flag is set.
    pub fn has(self, flag: Flag) -> bool {
        self.0 & (1 << flag as u8) != 0
    }

    /// Whether no flag is set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The short names, joined by commas; `-` if there is none.
    pub fn write(self, out: &mut String) {
        if self.is_empty() {
            out.push('-');
            return;
        }
        let mut first = true;
        for (flag, name) in Flag::ALL {
            if self.has(flag) {
                if !first {
                    out.push(',');
                }
                out.push_str(name);
                first = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_written_as_envoy_writes_them() {
        let text = |flags: Flags| {
            let mut out = String::new();
            flags.write(&mut out);
            out
        };
        assert_eq!(text(Flags::NONE), "-");
        let flags = Flags::NONE.with(Flag::UpstreamRetryLimitExceeded).with(Flag::UpstreamConnectionFailure);
        assert_eq!(text(flags), "UF,URX");
        for (flag, name) in Flag::ALL {
            assert_eq!(text(Flags::NONE.with(flag)), name);
        }
    }
}
