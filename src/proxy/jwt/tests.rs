//! What tokens say and where they are; that they are verified as Envoy does is proved by the differential cases.

use super::{token::audience, *};
use crate::head::{Normalize, Version};

fn head(target: &str, fields: &[(&str, &str)]) -> Head {
    let mut head = Head::default();
    head.start(Version::Http11, "GET", target, "a.test", &Normalize::default()).unwrap();
    fields.iter().for_each(|(name, value)| head.fields_mut().append(name, value.as_bytes()));
    head
}

#[test]
fn tokens_are_found_and_taken_out() {
    let places = [
        Place::Header("authorization".into(), "Bearer ".into()),
        Place::Parameter("t".into()),
        Place::Cookie("c".into()),
    ];
    let fields = [("authorization", "Bearer  x.y.z"), ("authorization", "Basic q"), ("cookie", "a=b; c=\"1.2.3\"")];
    let mut head = head("/p?a=%26&t=4.5.6&%74=7&b", &fields);
    let found = locate::find(&places, &head);
    let texts: Vec<_> = found.iter().map(|(_, text)| &**text).collect();
    assert_eq!(texts, ["x.y.z", "4.5.6", "7", "1.2.3"]);
    found.iter().for_each(|(location, _)| locate::remove(location, &mut head));
    assert_eq!(head.target(), "/p?a=%26&b");
    assert!(!head.fields().contains("authorization") && head.fields().contains("cookie"));
}

#[test]
fn a_claim_never_ends_a_header() {
    let claims = serde_json::json!({"a": "x\r\ny: z", "b": {"c": 1.5}, "d": "", "e": 7, "f": [1]});
    let text = |path: &[&str]| {
        let path: Vec<Name> = path.iter().map(|part| Name::from(*part)).collect();
        claim_text(claims.as_object().unwrap(), &path)
    };
    assert_eq!(text(&["a"]), None);
    assert_eq!(text(&["b", "c"]).as_deref(), Some("1.500000"));
    assert_eq!(text(&["e"]).as_deref(), Some("7"));
    assert_eq!(text(&["f"]).as_deref(), Some("WzFd"));
    for none in [&["d"][..], &["gone"], &["b", "gone"]] {
        assert_eq!(text(none), None, "{none:?}");
    }
}

#[test]
fn audiences_are_compared_without_scheme() {
    assert_eq!(audience("https://api.test/"), audience("http://api.test"));
    assert_ne!(audience("api.test/x"), audience("api.test"));
}

#[test]
fn verified_tokens_are_remembered_in_bounds() {
    let token = Arc::new(Token::parse("eyJhbGciOiJSUzI1NiJ9.e30.AA", &[]).unwrap());
    let known = Known::default();
    for count in 0..MOST_KNOWN + 5 {
        known.insert(&count.to_string(), &token);
    }
    assert!(known.0.lock().unwrap().len() <= MOST_KNOWN);
    known.insert(&"x".repeat(LONGEST_KNOWN + 1), &token);
    assert!(known.get(&"x".repeat(LONGEST_KNOWN + 1)).is_none());
}
