use super::*;
use std::sync::mpsc;

fn namespace(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

/// The next piece of work, as `name` and `-name`.
fn next(inbox: &Inbox) -> Vec<String> {
    let crate::source::Taken::Work(work) = inbox.take(None) else { panic!("there is work") };
    let named = |(id, object): (&api::ObjectId, &Option<api::Object>)| match object {
        Some(_) => id.name.to_string(),
        None => format!("-{}", id.name),
    };
    work.changes.iter().map(named).collect()
}

#[test]
fn a_directory_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    std::fs::create_dir(file("sub")).unwrap();
    std::fs::write(file("sub/a.yaml"), namespace("a")).unwrap();
    std::fs::write(file("b.json"), r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "b"}}"#).unwrap();
    std::fs::write(file("note.txt"), namespace("no")).unwrap();
    std::fs::write(file(".hidden.yaml"), namespace("no")).unwrap();
    let inbox = Inbox::default();
    let (problems, told) = mpsc::channel();
    let tell = Box::new(move |all: Vec<Problem>| drop(problems.send(all)));
    let _watch = watch(vec![directory.path().to_owned()], true, inbox.clone(), tell).unwrap();
    assert_eq!(next(&inbox), ["a", "b"]);

    std::fs::write(file("c.yaml"), namespace("c")).unwrap();
    assert_eq!(next(&inbox), ["c"]);
    std::fs::write(file("aside"), namespace("d")).unwrap();
    std::fs::rename(file("aside"), file("sub/a.yaml")).unwrap();
    assert_eq!(next(&inbox), ["-a", "d"]);
    std::fs::create_dir(file("new")).unwrap();
    std::fs::write(file("new/e.yml"), namespace("e")).unwrap();
    assert_eq!(next(&inbox), ["e"]);
    std::fs::write(file("c.yaml"), "kind: [").unwrap();
    assert!(told.recv().unwrap()[0].message.contains("what was known before stays in use"));
    std::fs::remove_file(file("c.yaml")).unwrap();
    assert_eq!(next(&inbox), ["-c"]);
    assert!(told.recv().unwrap().is_empty());
}

#[test]
fn a_single_file_may_be_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("objects");
    std::fs::write(&file, namespace("a")).unwrap();
    let inbox = Inbox::default();
    let _watch = watch(vec![file.clone()], true, inbox.clone(), Box::new(|_| {})).unwrap();
    assert_eq!(next(&inbox), ["a"]);
    std::fs::write(directory.path().join("aside"), namespace("b")).unwrap();
    std::fs::rename(directory.path().join("aside"), &file).unwrap();
    assert_eq!(next(&inbox), ["-a", "b"]);
}

#[test]
fn what_does_not_exist_is_an_error() {
    let error = watch(vec!["/nonexistent/dir".into()], false, Inbox::default(), Box::new(|_| {})).err().unwrap();
    assert!(error.to_string().starts_with("/nonexistent/dir: "), "{error}");
}

#[test]
fn a_scan_takes_nothing_from_a_file_that_is_being_written() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.yaml");
    std::fs::write(&file, namespace("a")).unwrap();
    std::fs::write(directory.path().join("b.yaml"), namespace("b")).unwrap();
    let (inbox, signal) = (Inbox::default(), Signal::default());
    let mut reader = Reader {
        paths: vec![directory.path().to_owned()],
        directory: Directory::default(),
        marks: BTreeMap::new(),
        inbox: inbox.clone(),
        tell: Box::new(|_| {}),
    };
    reader.scan(None);
    reader.tell();
    inbox.synced();
    assert_eq!(next(&inbox), ["a", "b"]);

    // What is gone waits for what it may have been moved to.
    std::fs::remove_file(directory.path().join("b.yaml")).unwrap();
    // Fresh however slow this machine is.
    let fresh = std::time::SystemTime::now() + Duration::from_secs(60);
    std::fs::File::create(&file).unwrap().set_modified(fresh).unwrap();
    reader.scan(Some(&signal));
    reader.tell();
    assert!(matches!(inbox.take(Some(Instant::now())), crate::source::Taken::Late));

    // It stays empty: then that is what its writer wants.
    let (paths, _) = signal.state().next(Instant::now() + UNCLOSED).unwrap();
    reader.look(&paths);
    reader.tell();
    assert_eq!(next(&inbox), ["-a", "-b"]);
}
