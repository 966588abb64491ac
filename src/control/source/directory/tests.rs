use super::*;

fn route(name: &str, path: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\n\
         spec: {{rules: [{{matches: [{{path: {{value: {path}}}}}]}}]}}\n"
    )
}

/// Sets files and says what changed: `name@generation` or `-name`, and the problems.
fn check(directory: &mut Directory, files: &[(&str, &str)], changes: &[&str], problems: Option<&[&str]>) {
    for (file, text) in files {
        let content = if *text == "gone" { Content::Gone } else { Content::Text((*text).to_owned()) };
        directory.set(file, content);
    }
    let update = directory.update();
    let told: Vec<String> = update
        .changes
        .iter()
        .map(|(id, object)| match object {
            Some(object) => format!("{}@{}", id.name, object.metadata().generation.unwrap()),
            None => format!("-{}", id.name),
        })
        .collect();
    assert_eq!(told, changes);
    let said = update.problems.map(|problems| problems.iter().map(Problem::to_string).collect::<Vec<_>>());
    assert_eq!(said, problems.map(|problems| problems.iter().map(|text| (*text).to_owned()).collect()));
}

#[test]
fn only_what_changed_is_told_and_counted() {
    let mut directory = Directory::default();
    let (a, b) = (route("a", "/a"), route("b", "/b"));
    check(&mut directory, &[("1", &format!("{a}{b}"))], &["a@1", "b@1"], None);
    check(&mut directory, &[("1", &format!("# same\n{a}{b}"))], &[], None);
    check(&mut directory, &[("1", &format!("{}{b}", route("a", "/c")))], &["a@2"], None);
    check(&mut directory, &[("1", &b)], &["-a"], None);
    check(&mut directory, &[("1", "gone"), ("2", &b)], &[], None);
    check(&mut directory, &[("2", &b.replace("{name: b}", "{name: b, labels: {x: y}}"))], &["b@1"], None);
}

#[test]
fn a_broken_file_keeps_what_it_held() {
    let mut directory = Directory::default();
    let (a, b) = (route("a", "/a"), route("b", "/b"));
    check(&mut directory, &[("1", &format!("{a}{b}"))], &["a@1", "b@1"], None);
    directory.set("1", Content::Text(format!("{}---\nx: [\n", route("a", "/c"))));
    let update = directory.update();
    assert_eq!(update.changes.len(), 1, "a is edited, b stays");
    let problems = update.problems.unwrap();
    assert!(problems[0].message.ends_with("what was known before stays in use"), "{problems:?}");
    check(
        &mut directory,
        &[("1", &format!("{}{}", route("a", "nonsense"), route("b", "/b2")))],
        &["b@2"],
        Some(&[
            "1:5:35: HTTPRoute default/a: spec.rules[0].matches[0].path.value: wanted a path that starts with '/', saw \"nonsense\"; what was known before stays in use",
        ]),
    );
    directory.set("1", Content::Unreadable("permission denied".into()));
    assert!(directory.update().changes.is_empty());
    check(&mut directory, &[("1", &b)], &["-a", "b@3"], Some(&[]));
}

#[test]
fn the_first_definition_counts() {
    let mut directory = Directory::default();
    check(&mut directory, &[("2", &route("a", "/two"))], &["a@1"], None);
    let said = ["2:2: HTTPRoute default/a: defined already in 1:2; that one counts"];
    check(&mut directory, &[("1", &route("a", "/one"))], &["a@2"], Some(&said));
    check(&mut directory, &[("2", &route("a", "/three"))], &[], None);
    check(&mut directory, &[("1", "gone")], &["a@3"], Some(&[]));
}
