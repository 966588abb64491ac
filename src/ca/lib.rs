//! The certificate authority: CSR in, certificate out
