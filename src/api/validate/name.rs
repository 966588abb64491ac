//! What texts must be like: names, host names, labels, paths.

use std::net::IpAddr;

/// A rule for texts, with the words for an error.
pub struct Rule {
    /// "wanted {what}"
    pub what: &'static str,
    /// Whether a text keeps it.
    pub holds: fn(&str) -> bool,
}

/// `a-z0-9-`, up to 63.
pub const DNS_LABEL: Rule = Rule {
    what: "a DNS label (a-z, 0-9 and '-', up to 63, RFC 1123)",
    holds: |text| text.len() <= 63 && is_label(text),
};

/// A DNS label that starts with a letter: what Services are called.
pub const SERVICE_NAME: Rule = Rule {
    what: "a DNS label that starts with a letter (a-z, 0-9 and '-', up to 63, RFC 1035)",
    holds: |text| text.len() <= 63 && is_label(text) && text.starts_with(|first: char| first.is_ascii_lowercase()),
};

/// DNS labels with dots between them, up to 253.
pub const DNS_SUBDOMAIN: Rule =
    Rule { what: "a DNS name (a-z, 0-9, '-' and '.', up to 253, RFC 1123)", holds: |text| is_subdomain(text) };

/// 1 to 253 of anything.
pub const OBJECT_NAME: Rule =
    Rule { what: "a name of 1 to 253 characters", holds: |text| (1..=253).contains(&text.len()) };

/// A host name without wildcard.
pub const PRECISE_HOSTNAME: Rule = Rule {
    what: "a host name without wildcard or port (a-z, 0-9, '-' and '.', up to 253)",
    holds: |text| is_subdomain(text),
};

/// A host name that may start with `*.`; no address, by the words of the specification.
pub const HOSTNAME: Rule = Rule {
    what: "a host name (a-z, 0-9, '-' and '.', up to 253; '*.' may stand before it) and no IP address",
    holds: |text| {
        text.len() <= 253 && is_subdomain(text.strip_prefix("*.").unwrap_or(text)) && text.parse::<IpAddr>().is_err()
    },
};

/// A host name that may start with `*.`.
pub const HOSTNAME_OR_WILDCARD: Rule = Rule {
    what: "a host name (a-z, 0-9, '-' and '.', up to 253; '*.' may stand before it)",
    holds: |text| text.len() <= 253 && is_subdomain(text.strip_prefix("*.").unwrap_or(text)),
};

/// A URI with its scheme.
pub const URI: Rule = Rule {
    what: "a URI with its scheme, up to 253",
    holds: |text| {
        let scheme = |(scheme, _): (&str, &str)| !scheme.is_empty() && !scheme.contains(['/', '?', '#']);
        text.len() <= 253 && text.split_once(':').is_some_and(scheme)
    },
};

/// A set of certificate authorities by name.
pub const WELL_KNOWN_AUTHORITIES: Rule = Rule {
    what: "System, or a name with a domain such as example.com/authorities",
    holds: |text| {
        let own = |(domain, name): (&str, &str)| is_subdomain(domain) && is_qualified(name);
        text == "System" || text.split_once('/').is_some_and(own)
    },
};

/// An API group, or nothing.
pub const GROUP: Rule = Rule {
    what: "an API group (a DNS name, or empty for the core group)",
    holds: |text| text.is_empty() || is_subdomain(text),
};

/// A kind.
pub const KIND: Rule = Rule {
    what: "a kind (letters, digits and '-', up to 63)",
    holds: |text| {
        (1..=63).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.ends_with(|last: char| last.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    },
};

/// A protocol: a word, or `domain/word`.
pub const PROTOCOL: Rule = Rule {
    what: "a protocol such as HTTP, HTTPS or example.com/word",
    holds: |text| {
        let is_word = |word: &str| is_label(&word.to_ascii_lowercase());
        let is_domain_word = |(domain, word): (&str, &str)| {
            is_subdomain(domain) && !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        text.len() <= 255 && (is_word(text) || text.split_once('/').is_some_and(is_domain_word))
    },
};

/// `domain/path` of a controller.
pub const CONTROLLER: Rule = Rule {
    what: "a controller name such as example.com/gateway-controller",
    holds: |text| {
        let is_path = |path: &str| {
            !path.is_empty()
                && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte))
        };
        text.len() <= 253 && text.split_once('/').is_some_and(|(domain, path)| is_subdomain(domain) && is_path(path))
    },
};

/// A header name (RFC 9110 token) of up to 256.
pub const HEADER_NAME: Rule = Rule {
    what: "a name of letters, digits and !#$%&'*+-.^_`|~ (RFC 9110), up to 256",
    holds: |text| (1..=256).contains(&text.len()) && text.bytes().all(is_token),
};

/// A header value.
pub const HEADER_VALUE: Rule =
    Rule { what: "a value of 1 to 4096 characters", holds: |text| (1..=4096).contains(&text.chars().count()) };

/// A query parameter's value.
pub const QUERY_VALUE: Rule =
    Rule { what: "a value of 1 to 1024 characters", holds: |text| (1..=1024).contains(&text.chars().count()) };

/// A path that is put in the place of another.
pub const NEW_PATH: Rule = Rule { what: "a path of up to 1024 characters", holds: |text| text.chars().count() <= 1024 };

/// A label's key.
pub const LABEL_KEY: Rule = Rule {
    what: "a label key ([<DNS name>/]<letters, digits, '-', '_', '.', up to 63>)",
    holds: |text| match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_qualified(name),
        None => is_qualified(text),
    },
};

/// A label's value.
pub const LABEL_VALUE: Rule = Rule {
    what: "a label value (letters, digits, '-', '_' and '.', up to 63)",
    holds: |text| text.is_empty() || is_qualified(text),
};

/// A key of a Secret.
pub const DATA_KEY: Rule = Rule {
    what: "a key of letters, digits, '-', '_' and '.', up to 253",
    holds: |text| {
        (1..=253).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            && text != "."
            && text != ".."
    },
};

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_qualified(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
