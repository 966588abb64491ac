//! The targets: what reads a stranger's bytes, and what must always be true of it. Those of xDS have files of their own.

use crate::{Target, files, resources, streams};
use model::{Identity, TrustDomain};
use proxy::{
    h1::{Decoder, Length, Limits, Scan, Step, parse_request, parse_response},
    head::{Head, Normalize, Reply},
    proxy_protocol::{self, Ends, Header},
};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::{path::Path, time::Duration, time::SystemTime};

/// Makes a target, with its seeds.
pub type Make = fn() -> Target;

/// All of them: a name and how it is made.
pub const ALL: [(&str, Make); 9] = [
    ("manifest", manifest),
    ("csr", csr),
    ("token", token),
    ("request", request),
    ("response", response),
    ("body", body),
    ("proxy_protocol", proxy_protocol),
    ("resource", || target("resource", resources::seeds(), resources::run)),
    ("stream", || target("stream", streams::seeds(), streams::run())),
];

fn target(name: &'static str, seeds: Vec<Vec<u8>>, run: impl Fn(&[u8]) + 'static) -> Target {
    Target { name, seeds, run: Box::new(run) }
}

/// YAML and JSON objects. Reading is a function of the text alone, and what is wrong is said with a place.
fn manifest() -> Target {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds = files(&root.join("differential/cases"));
    seeds.extend(files(&root.join("golden")).into_iter().filter(|seed| seed.len() < 20_000));
    target("manifest", seeds, |input| {
        let text = String::from_utf8_lossy(input);
        let read = api::manifest::read("fuzz.yaml", &text);
        assert_eq!(read, api::manifest::read("fuzz.yaml", &text), "the same text reads the same");
        let lines = text.lines().count() as u32 + 1;
        assert!(read.objects.iter().all(|object| (1..=lines).contains(&object.line)), "a line of the file");
    })
}

fn caller() -> Identity {
    let text = |text: &str| text.into();
    Identity { trust_domain: TrustDomain::new("cluster.local"), namespace: text("ns"), service_account: text("sa") }
}

/// Signing requests, as DER in PEM. Whatever is asked, a certificate names the caller and nobody else.
fn csr() -> Target {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let root = parameters.self_signed(&key).expect("a root").der().clone();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let now = SystemTime::now();
    let authority = ca::Authority::new(&private, vec![root.clone()], vec![root], now).expect("an authority");
    let mut seeds = Vec::new();
    for names in [vec![], vec!["a.example".to_owned()]] {
        let mut parameters = rcgen::CertificateParams::new(names).expect("parameters");
        let uri = "spiffe://cluster.local/ns/ns/sa/sa".try_into().expect("a name");
        parameters.subject_alt_names.push(rcgen::SanType::URI(uri));
        let key = rcgen::KeyPair::generate().expect("a key");
        seeds.push(parameters.serialize_request(&key).expect("a request").der().to_vec());
    }
    target("csr", seeds, move |input| {
        let encoded = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, input);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{encoded}\n-----END CERTIFICATE REQUEST-----\n");
        if let Ok(chain) = ca::sign(&pem, &caller(), Duration::ZERO, now, &authority) {
            let uri = b"spiffe://cluster.local/ns/ns/sa/sa".as_slice();
            assert!(chain.leaf.windows(uri.len()).any(|window| window == uri), "the caller's name");
            assert!(!chain.leaf.windows(9).any(|window| window == b"a.example"), "nobody else's name");
        }
        let _ = ca::sign(&String::from_utf8_lossy(input), &caller(), Duration::ZERO, now, &authority);
    })
}

/// Bootstrap tokens. Only the token itself is good.
fn token() -> Target {
    let directory = tempfile::tempdir().expect("a directory");
    let tokens = ca::BootstrapTokens::open(directory.path()).expect("a token key");
    let now = SystemTime::now();
    let good = tokens.issue(&caller(), now + Duration::from_secs(3600));
    let seeds = vec![good.clone().into_bytes()];
    target("token", seeds, move |input| {
        let _ = &directory;
        let text = String::from_utf8_lossy(input);
        assert!(tokens.check(&text, now).is_err() || text == good, "a forged token is taken: {text}");
    })
}

fn limits() -> Limits {
    let normalize = Normalize { dot_segments: true, merge_slashes: true, ..Normalize::default() };
    Limits { bytes: 16 << 10, fields: 100, http10: true, normalize }
}

/// Heads of requests. The verdict does not depend on how the bytes arrive, and what is taken is canonical.
fn request() -> Target {
    target("request", Vec::new(), |input| {
        let mut head = Head::default();
        let whole = parse_request(input, &mut Scan::default(), &limits(), &mut head);
        if let Ok(Some(request)) = &whole {
            assert!(request.consumed <= input.len(), "no more than came");
            // CONNECT has an authority in the path's place, and no route matches it.
            let path = if head.method() == "CONNECT" { "/" } else { head.path() };
            assert!(path.starts_with('/') || path == "*", "a path: {path:?}");
            assert!(!path.contains("//") && !path.split('/').any(|part| part == ".."), "a canonical path: {path:?}");
        }
        let (mut pieces, mut scan) = (None, Scan::default());
        for end in (0..=input.len().min(20_000)).step_by(1 + input.len() / 97) {
            let mut head = Head::default();
            match parse_request(&input[..end], &mut scan, &limits(), &mut head) {
                Ok(None) => {}
                verdict => {
                    pieces = Some(verdict);
                    break;
                }
            }
        }
        if let (Some(Ok(Some(pieces))), whole) = (&pieces, &whole) {
            let whole = whole.as_ref().map(|request| request.map(|request| (request.consumed, request.length)));
            assert_eq!(whole, Ok(Some((pieces.consumed, pieces.length))), "the same in pieces");
        }
        if let Some(Err(_)) = pieces {
            assert!(whole.is_err(), "refused in pieces, taken whole");
        }
    })
}

/// Heads of responses: a backend is a stranger too.
fn response() -> Target {
    target("response", Vec::new(), |input| {
        for to_head in [false, true] {
            let mut reply = Reply::default();
            if let Ok(Some(response)) = parse_response(input, &mut Scan::default(), to_head, &mut reply) {
                assert!(response.consumed <= input.len(), "no more than came");
                assert!(reply.status >= 100, "a status: {}", reply.status);
            }
        }
    })
}

/// Chunked bodies. The data is the same in one piece and byte by byte.
fn body() -> Target {
    target("body", Vec::new(), |input| {
        let whole = decode(input, input.len().max(1));
        assert_eq!(whole, decode(input, 1), "byte by byte");
        assert_eq!(whole, decode(input, 7), "in sevens");
    })
}

/// The data of a chunked body that arrives in pieces, and whether it ended; none if it is malformed.
fn decode(input: &[u8], piece: usize) -> Option<(Vec<u8>, bool)> {
    let mut decoder = Decoder::new(Length::Chunked);
    let mut data = Vec::new();
    for mut bytes in input.chunks(piece) {
        loop {
            match decoder.step(bytes).ok()? {
                Step::Data(range) => {
                    assert!(range.start < range.end, "data is something");
                    data.extend_from_slice(&bytes[range.clone()]);
                    bytes = &bytes[range.end..];
                }
                Step::More(_) => break,
                Step::End(_) => return Some((data, true)),
            }
        }
    }
    Some((data, false))
}

/// PROXY headers. The verdict does not depend on how the bytes arrive, and who is named is told on unchanged.
fn proxy_protocol() -> Target {
    let ends = |from: &str, to: &str| Ends { from: from.parse().expect("an end"), to: to.parse().expect("an end") };
    let (v4, v6) = (ends("192.0.2.7:50000", "198.51.100.1:25"), ends("[2001:db8::7]:1", "[2001:db8::1]:443"));
    let mut seeds: Vec<_> = [None, Some(v4), Some(v6)].map(proxy_protocol::version2).into();
    seeds.push(
        [
            &proxy_protocol::version2(Some(v4))[..15],
            &[21],
            &[192, 0, 2, 7, 198, 51, 100, 1, 0, 1, 0, 2],
            &[4, 0, 0, 234, 0, 3, 1, 2, 3],
        ]
        .concat(),
    );
    seeds.extend(
        ["PROXY TCP4 192.0.2.7 198.51.100.1 50000 25\r\nx", "PROXY UNKNOWN\r\n"].map(|line| line.as_bytes().to_vec()),
    );
    target("proxy_protocol", seeds, |input| {
        let whole = announced(input, input.len().max(1));
        assert_eq!(whole, announced(input, 1), "byte by byte");
        assert_eq!(whole, announced(input, 7), "in sevens");
        if let Some((used, ends)) = whole {
            assert!(used <= input.len(), "no more than came");
            let told = proxy_protocol::version2(ends);
            assert_eq!(announced(&told, told.len()), Some((told.len(), ends)), "told on");
        }
    })
}

/// How many bytes of what arrives in pieces are a header, and whom it names; none if it is none or not whole.
fn announced(input: &[u8], piece: usize) -> Option<(usize, Option<Ends>)> {
    let (mut header, mut before) = (Header::default(), 0);
    for bytes in input.chunks(piece) {
        match header.take(bytes).ok()? {
            proxy_protocol::Step::More => before += bytes.len(),
            proxy_protocol::Step::End { used, ends } => return Some((before + used, ends)),
        }
    }
    None
}
