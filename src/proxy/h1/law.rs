//! One pass over a head finds what separate passes with httparse find: the same head, or the same refusal.

use super::*;
use crate::head::{Head, Normalize, Reply};
use proptest::{prelude::*, sample::select};

const LIMITS: Limits = Limits {
    bytes: 600,
    fields: 6,
    http10: true,
    normalize: Normalize {
        dot_segments: true,
        merge_slashes: true,
        escaped_slashes: crate::head::EscapedSlashes::Keep,
        strip_port: false,
        strip_trailing_dot: true,
    },
};

/// A head as it may be, and a little worse.
fn head(first: Vec<&'static str>) -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        8 => select(vec!["Host", "Accept", "x-a_b", "Content-Length", "TRANSFER-ENCODING", "Connection", "Upgrade",
            "Expect", "x-envoy-a", "X-Forwarded-For", "Date"]),
        1 => select(vec!["", " a", "a b", "a\t", "é", "a(", "~!#$%&'*+-.^_`|"]),
    ];
    let text = prop_oneof![
        8 => select(vec!["a", "a.test:80", "0", "17", "chunked", "close, x-a", "keep-alive", "upgrade", "100-continue",
            "text/html; q=0.5, application/json", "", "a value of more than sixteen bytes"]),
        1 => select(vec!["18446744073709551616", "00005", "+5", "gzip", "host", "a\tb", "é", "a@b", "\u{7f}", "1 2"]),
    ]
    .prop_map(str::to_owned);
    let text = prop_oneof![9 => text, 1 => prop::collection::vec(b' '..=b'~', 0..40).prop_map(|text| String::from_utf8(text).unwrap())];
    let around = prop_oneof![6 => Just(" "), 1 => select(vec!["", "  ", "\t", " \t "])];
    let behind = prop_oneof![6 => Just(""), 1 => select(vec![" ", "\t", " \t "])];
    let end = prop_oneof![30 => Just("\r\n"), 1 => select(vec!["\n", "\r", "\r\r\n", "\r\n ", "\n\r\n"])];
    let field = (name, around, text, behind, end)
        .prop_map(|(name, around, text, behind, end)| format!("{name}:{around}{text}{behind}{end}"));
    let host = prop_oneof![9 => Just("Host: a.test\r\n"), 1 => Just("")];
    (select(first), host, prop::collection::vec(field, 0..8), prop::collection::vec(any::<u8>(), 0..20)).prop_map(
        |(first, host, fields, rest)| {
            [first.as_bytes(), host.as_bytes(), fields.concat().as_bytes(), b"\r\n", &rest].concat()
        },
    )
}

/// A byte put in, taken out or replaced.
type Mutation = (u8, prop::sample::Index, u8);

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let byte = prop_oneof![any::<u8>(), select(b"\r\n :\t\0/%#a5\x7f\x80".to_vec())];
    prop::collection::vec((0..3u8, any::<prop::sample::Index>(), byte), 0..3)
}

fn mutate(input: &mut Vec<u8>, mutations: &[Mutation]) {
    for &(kind, at, byte) in mutations {
        let at = at.index(input.len());
        match kind {
            0 => input.insert(at, byte),
            1 => input[at] = byte,
            _ => drop(input.remove(at)),
        }
    }
}

fn lines(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect()
}

/// What is written of fields that were read is what is written of them one by one.
fn written(fields: &Fields) -> [Vec<u8>; 2] {
    let (mut whole, mut single) = (Vec::new(), Vec::new());
    fields.write(|known| known == Known::Connection, &mut whole);
    for (known, name, value) in fields.known().filter(|(known, ..)| *known != Known::Connection) {
        assert_ne!(known, Known::Host);
        single.extend([name, b": ", value, b"\r\n"].concat());
    }
    [whole, single]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8_000))]

    #[test]
    fn requests_are_read_as_the_oracle_reads_them(
        input in head(vec!["GET / HTTP/1.1\r\n", "GET /a/../b?c HTTP/1.1\r\n", "POST /a HTTP/1.0\r\n", "\r\nGET / HTTP/1.1\r\n",
            "get http://A.test/x HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "GET  / HTTP/1.1\r\n", "GET /\u{e9} HTTP/1.1\r\n",
            "GET / HTTP/2.0\r\n", "GET / \r\n", "GET /\r\n", "CONNECT a:1 HTTP/1.1\r\n"]),
        mutations in mutations(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut input = input;
        mutate(&mut input, &mutations);
        // Our reader of connections passes over all empty lines before it reads a head.
        prop_assume!(!input.starts_with(b"\r\n\r\n"));
        let (mut wanted, mut seen) = (Head::default(), Head::default());
        let verdict = oracle::request(&input, &LIMITS, &mut wanted);
        prop_assert_eq!(&parse_request(&input, &mut Scan::default(), &LIMITS, &mut seen), &verdict);
        if let Ok(Some(_)) = verdict {
            prop_assert_eq!(lines(seen.fields()), lines(wanted.fields()));
            let line = |head: &Head| [head.method(), head.target(), head.authority(), head.path(), head.host()].join(" ");
            prop_assert_eq!(line(&seen), line(&wanted));
            let [whole, single] = written(seen.fields());
            prop_assert_eq!(whole, single);
        }
        let mut scan = Scan::default();
        let cut = cut.index(input.len() + 1);
        let verdict = match parse_request(&input[..cut], &mut scan, &LIMITS, &mut Head::default()) {
            Ok(None) => parse_request(&input, &mut scan, &LIMITS, &mut Head::default()),
            early => early,
        };
        prop_assert_eq!(verdict, oracle::request(&input, &LIMITS, &mut Head::default()));
    }

    #[test]
    fn responses_are_read_as_the_oracle_reads_them(
        input in head(vec!["HTTP/1.1 200 OK\r\n", "HTTP/1.0 404 Not Found\r\n", "HTTP/1.1 204\r\n", "HTTP/1.1 301 \r\n",
            "\r\nHTTP/1.1 200 OK\r\n", "HTTP/1.1 099 x\r\n", "HTTP/1.1 20 x\r\n", "HTTP/1.1 200x\r\n", "HTTP/1.1 500 \u{e9}\tz\r\n",
            "HTTP/1\r\n"]),
        mutations in mutations(),
        to_head in any::<bool>(),
    ) {
        let mut input = input;
        mutate(&mut input, &mutations);
        let (mut wanted, mut seen) = (Reply::default(), Reply::default());
        let verdict = oracle::response(&input, to_head, &mut wanted);
        prop_assert_eq!(&parse_response(&input, &mut Scan::default(), to_head, &mut seen), &verdict);
        if let Ok(Some(_)) = verdict {
            prop_assert_eq!((seen.status, lines(&seen.fields)), (wanted.status, lines(&wanted.fields)));
        }
    }
}
