//! The xDS protocol, both ends: named, versioned bytes
