//! The codec by table, and whatever way its input is cut.

use super::*;
use crate::head::{Head, Normalize, Reply};
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    bytes: 4096,
    fields: 16,
    http10: true,
    normalize: Normalize {
        dot_segments: true,
        merge_slashes: false,
        escaped_slashes: crate::head::EscapedSlashes::Keep,
        strip_port: false,
        strip_trailing_dot: false,
    },
};

/// What becomes of a request that arrives in pieces that end at `cuts` and at its end.
fn verdict(input: &[u8], cuts: &[usize]) -> String {
    let (mut scan, mut head) = (Scan::default(), Head::default());
    for &cut in cuts.iter().chain([&input.len()]) {
        match parse_request(&input[..cut], &mut scan, &LIMITS, &mut head) {
            Ok(None) => {}
            Ok(Some(request)) => {
                let length = match request.length {
                    Length::Exact(length) => length.to_string(),
                    Length::Chunked => "chunked".to_owned(),
                    Length::Close => "close".to_owned(),
                };
                let authority = if head.authority().is_empty() { "-" } else { head.authority() };
                let keep = if request.keep_alive { "keep" } else { "close" };
                let more = [(request.expects_continue, " +continue"), (request.upgrade, " +upgrade")];
                let more: String = more.into_iter().filter(|(is, _)| *is).map(|(_, text)| text).collect();
                return format!("{} {} {authority} {length} {keep}{more}", head.method(), head.target());
            }
            Err(refusal) => return format!("{} {refusal:?}", refusal.status()),
        }
    }
    "more".to_owned()
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [b'r', tail @ ..]) => (out.push(b'\r'), rest = tail).0,
            (b'\\', [b'n', tail @ ..]) => (out.push(b'\n'), rest = tail).0,
            (b'\\', [b't', tail @ ..]) => (out.push(b'\t'), rest = tail).0,
            (b'\\', [b'0', tail @ ..]) => (out.push(0), rest = tail).0,
            (b'\\', [b'x', high, low, tail @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = tail;
            }
            _ => out.push(*first),
        }
    }
    out
}

#[test]
fn requests_by_table_cut_anywhere() {
    let lines = include_str!("cases.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut wrong = Vec::new();
    for line in lines {
        let parts: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let [name, input, wanted] = parts[..] else { panic!("{line}") };
        let input = unescape(input);
        let whole = verdict(&input, &[]);
        if whole != wanted {
            wrong.push(format!("{name}: wanted {wanted}, got {whole}"));
        }
        for cut in 0..input.len() {
            assert_eq!(verdict(&input, &[cut]), whole, "{name}, cut at {cut}");
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn heads_are_bounded() {
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(LIMITS.bytes));
    assert_eq!(verdict(long.as_bytes(), &[]), "431 TooLarge");
    assert_eq!(verdict(&long.as_bytes()[..LIMITS.bytes + 1], &[]), "431 TooLarge", "before its end is seen");
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(LIMITS.fields));
    assert_eq!(verdict(many.as_bytes(), &[]), "431 TooMany");
}

/// The data of a body that arrives in pieces, and what is left behind it.
fn body(input: &[u8], length: Length, cuts: &[usize]) -> Result<(Vec<u8>, Vec<u8>), BodyError> {
    let mut decoder = Decoder::new(length);
    let (mut waiting, mut out, mut from) = (Vec::new(), Vec::new(), 0);
    for &cut in cuts.iter().chain([&input.len()]) {
        waiting.extend_from_slice(&input[from..cut]);
        from = cut;
        loop {
            match decoder.step(&waiting)? {
                Step::Data(range) => {
                    out.extend_from_slice(&waiting[range.clone()]);
                    waiting.drain(..range.end);
                }
                Step::More(count) => {
                    waiting.drain(..count);
                    break;
                }
                Step::End(count) => {
                    waiting.drain(..count);
                    waiting.extend_from_slice(&input[from..]);
                    return Ok((out, waiting));
                }
            }
        }
    }
    decoder.close().map(|()| (out, waiting))
}

#[test]
fn chunks_by_table() {
    let good = |text: &str, data: &str, rest: &str| {
        let wanted = Ok((data.as_bytes().to_vec(), rest.as_bytes().to_vec()));
        for cut in 0..text.len() {
            assert_eq!(body(text.as_bytes(), Length::Chunked, &[cut]), wanted, "{text:?} cut at {cut}");
        }
    };
    good("5\r\nhello\r\n0\r\n\r\nGET", "hello", "GET");
    good("1\r\na\r\n00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\n", "a0123456789", "");
    good("0\r\nX: y\r\nZ: w\r\n\r\nnext", "", "next");
    for bad in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "0x1\r\n",
        " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1\na\r\n",
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "fffffffffffffffff\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\n\0\r\n\r\n",
        "1;\0\r\na\r\n0\r\n\r\n",
    ] {
        assert_eq!(body(bad.as_bytes(), Length::Chunked, &[]), Err(BodyError::Chunk), "{bad:?}");
    }
    assert_eq!(body(b"5\r\nhel", Length::Chunked, &[]), Err(BodyError::CutOff));
    assert_eq!(body(b"hel", Length::Exact(5), &[]), Err(BodyError::CutOff));
    assert_eq!(body(b"hello!", Length::Exact(5), &[2]), Ok((b"hello".to_vec(), b"!".to_vec())));
    assert_eq!(body(b"hello!", Length::Close, &[2]), Ok((b"hello!".to_vec(), vec![])));
    let endless = format!("0\r\n{}", "X: y\r\n".repeat(10_000));
    assert_eq!(body(endless.as_bytes(), Length::Chunked, &[]), Err(BodyError::Chunk));
}

#[test]
fn responses_have_the_length_that_their_request_and_code_give_them() {
    let length = |text: &str, to_head: bool| {
        let mut reply = Reply::default();
        let parsed = parse_response(text.as_bytes(), &mut Scan::default(), to_head, &mut reply);
        parsed.map(|response| response.map(|response| (response.length, response.keep_alive)))
    };
    let ok = |length, keep| Ok(Some((length, keep)));
    assert_eq!(length("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false), ok(Length::Exact(3), true));
    assert_eq!(length("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true), ok(Length::Exact(0), true));
    assert_eq!(length("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", false), ok(Length::Chunked, true));
    assert_eq!(length("HTTP/1.1 204 No Content\r\n\r\n", false), ok(Length::Exact(0), true));
    assert_eq!(length("HTTP/1.1 200 OK\r\n\r\n", false), ok(Length::Close, false));
    assert_eq!(length("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false), ok(Length::Exact(3), false));
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(length(both, false), Err(Refusal::Length));
    assert_eq!(length("HTTP/1.1 20 OK\r\n\r\n", false), Err(Refusal::FirstLine));
    assert_eq!(length("HTTP/1.1 200 OK\r\n", false), Ok(None));
}

proptest! {
    /// However a chunked body is cut into chunks, and its bytes into reads, it is the same body.
    #[test]
    fn chunked_bodies_survive_any_cut(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
        cuts in prop::collection::vec(0.0..1.0f64, 0..6),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            chunk_start(chunk.len(), &mut wire);
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        chunk_end(&mut wire);
        let end = wire.len();
        wire.extend_from_slice(b"next");
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| (cut * end as f64) as usize).collect();
        cuts.sort_unstable();
        prop_assert_eq!(body(&wire, Length::Chunked, &cuts), Ok((chunks.concat(), b"next".to_vec())));
    }

    /// Whatever bytes come, in whatever pieces: the same verdict, and no panic.
    #[test]
    fn any_bytes_give_one_verdict(
        input in prop::collection::vec(prop_oneof![
            any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), Just(b'a'), Just(b'/')
        ], 0..120),
        at in 0.0..1.0f64,
    ) {
        let whole = [b"GET / HTTP/1.1\r\nHost: a\r\n".as_slice(), &input, b"\r\n\r\n"].concat();
        let cut = (at * whole.len() as f64) as usize;
        prop_assert_eq!(verdict(&whole, &[cut]), verdict(&whole, &[]));
        let bytes = |cuts: &[usize]| body(&input, Length::Chunked, cuts);
        let cut = (at * input.len() as f64) as usize;
        prop_assert_eq!(bytes(&[cut]), bytes(&[]));
    }
}
