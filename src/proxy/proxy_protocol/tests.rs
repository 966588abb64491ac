use super::{Ends, Fault, Header, Step, version2};

fn ends(from: &str, to: &str) -> Ends {
    Ends { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

/// What is read of a header that is followed by something else: the same in one piece and byte by byte.
fn read(header: &[u8]) -> Result<Option<Ends>, Fault> {
    let wire = [header, b"\x16\x03\x01 and what follows"].concat();
    let whole = Header::default().take(&wire).map(|step| match step {
        Step::End { used, ends } if used == header.len() => ends,
        other => panic!("{other:?} of {} bytes", header.len()),
    });
    let mut pieces = Header::default();
    let last = wire.iter().map(|byte| pieces.take(&[*byte])).find(|step| *step != Ok(Step::More));
    let last = last.expect("an end").map(|step| match step {
        Step::End { used: 1, ends } => ends,
        other => panic!("{other:?}"),
    });
    assert_eq!(last, whole, "byte by byte");
    whole
}

#[test]
fn what_is_written_is_read() {
    for (from, to) in [("192.0.2.7:50000", "198.51.100.1:25"), ("[2001:db8::7]:1", "[2001:db8::1]:443")] {
        assert_eq!(read(&version2(Some(ends(from, to)))), Ok(Some(ends(from, to))));
    }
    assert_eq!(read(&version2(None)), Ok(None));
    let mixed = read(&version2(Some(ends("192.0.2.7:1", "[2001:db8::1]:2"))));
    assert_eq!(mixed, Ok(Some(ends("[::ffff:192.0.2.7]:1", "[2001:db8::1]:2"))));
}

#[test]
fn lines_of_version_1() {
    let v4 = Ok(Some(ends("192.0.2.7:50000", "198.51.100.1:25")));
    for (line, wanted) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 50000 25\r\n", v4),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 50000 25 \r\n", v4),
        ("PROXY TCP6 2001:db8::7 ::1 1 2\r\n", Ok(Some(ends("[2001:db8::7]:1", "[::1]:2")))),
        ("PROXY UNKNOWN\r\n", Ok(None)),
        ("PROXY UNKNOWN ffff::1 whatever\r\n", Ok(None)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n", Err(Fault::Line)),
        ("PROXY TCP4  192.0.2.7 198.51.100.1 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 1 65536\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.7 198.51.100.1 1 +2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.7 ::1 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 192.0.2.07 198.51.100.1 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n", Err(Fault::Line)),
        ("PROXY TCP4 0.0.0.0 198.51.100.1 1 2\r\n", Err(Fault::Address)),
        ("PROXY TCP4 192.0.2.7 255.255.255.255 1 2\r\n", Err(Fault::Address)),
        ("PROXY TCP6 ff02::1 ::1 1 2\r\n", Err(Fault::Address)),
        ("PROXY \r\n", Err(Fault::Line)),
        ("PROXY", Err(Fault::Absent)),
        ("GET / HTTP/1.1\r\n", Err(Fault::Absent)),
        (&format!("PROXY UNKNOWN {}\r\n", "x".repeat(91)), Ok(None)),
        (&format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)), Err(Fault::Endless)),
    ] {
        assert_eq!(read(line.as_bytes()), wanted, "{line:?}");
    }
}

/// Version 2 with that command and family, and a length of its own.
fn version(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
    [super::read::SIGNATURE2, &[command, family], &length.to_be_bytes(), rest].concat()
}

#[test]
fn headers_of_version_2() {
    let four = [192, 0, 2, 7, 198, 51, 100, 1, 0, 1, 0, 2];
    let known = Ok(Some(ends("192.0.2.7:1", "198.51.100.1:2")));
    let with = |extension: &[u8]| [&four[..], extension].concat();
    for (header, wanted) in [
        (version(0x21, 0x11, 12, &four), known),
        (version(0x21, 0x12, 12, &four), known),
        (version(0x21, 0x11, 15, &with(&[0xea, 0, 0])), known),
        (version(0x21, 0x11, 18, &with(&[0xea, 0, 3, 1, 2, 3])), known),
        (version(0x21, 0x11, 21, &with(&[4, 0, 0, 0xea, 0, 3, 1, 2, 3])), known),
        (version(0x21, 0x11, 13, &with(&[0xea])), Err(Fault::Length)),
        (version(0x21, 0x11, 16, &with(&[0xea, 0, 2, 1])), Err(Fault::Length)),
        (version(0x21, 0x11, 11, &four), Err(Fault::Length)),
        (version(0x21, 0x21, 12, &four), Err(Fault::Length)),
        (version(0x21, 0x00, 0, &[]), Err(Fault::Unknown)),
        (version(0x21, 0x31, 216, &[1; 216]), Err(Fault::Unknown)),
        (version(0x21, 0x13, 12, &four), Err(Fault::Unknown)),
        (version(0x22, 0x11, 12, &four), Err(Fault::Unknown)),
        (version(0x11, 0x11, 12, &four), Err(Fault::Unknown)),
        (version(0x21, 0x11, 12, &[0; 12]), Err(Fault::Address)),
        (version(0x20, 0x00, 0, &[]), Ok(None)),
        (version(0x20, 0x77, 5, &[1, 2, 3, 4, 5]), Ok(None)),
    ] {
        assert_eq!(read(&header), wanted, "{header:?}");
    }
}
