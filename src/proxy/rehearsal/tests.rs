use super::*;

#[test]
fn without_listeners_every_connection_is_closed() {
    let rehearsal = Rehearsal::new(std::iter::empty()).unwrap();
    let question = Question {
        port: 80,
        server_name: None,
        peer: "192.0.2.1:40000".parse().unwrap(),
        local: IpAddr::from([127, 0, 0, 1]),
        certificate: None,
        request: "GET / HTTP/1.1\r\nhost: a\r\n\r\n".into(),
    };
    assert_eq!(rehearsal.ask(&question).unwrap_err(), Closed::NoListener { ports: Vec::new() });
}
