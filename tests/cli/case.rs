//! Case files: comments, `# $ windlass ..` for each command, `# ==== file NAME` before each file, and the mark.

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const MARK: &str = "# ==== expected\n";
const FILE: &str = "# ==== file ";
const COMMAND: &str = "# $ windlass ";

pub struct Case {
    input: String,
    commands: Vec<String>,
    files: Vec<(String, String)>,
    pub expected: String,
}

/// The files whose names contain one of the parts, sorted.
pub fn files(parts: &[String]) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cli/cases");
    let entries = fs::read_dir(&directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.retain(|file| parts.is_empty() || parts.iter().any(|part| file.to_string_lossy().contains(part)));
    files.sort();
    files
}

impl Case {
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file).map_err(|why| why.to_string())?;
        let (input, expected) = text.split_once(MARK).unwrap_or((&text, ""));
        if !input.starts_with("# ") || input.starts_with(COMMAND) {
            return Err("the first line must be a comment that says what the case is for".into());
        }
        let mut parts = input.split(FILE);
        let head = parts.next().unwrap_or_default();
        let commands: Vec<String> =
            head.lines().filter_map(|line| line.strip_prefix(COMMAND)).map(str::to_owned).collect();
        if commands.is_empty() {
            return Err(format!("wanted a line {COMMAND:?}.."));
        }
        let file = |part: &str| {
            let (name, text) = part.split_once('\n').unwrap_or((part, ""));
            (name.trim().to_owned(), text.to_owned())
        };
        let files = parts.map(file).collect();
        Ok(Self { input: input.into(), commands, files, expected: expected.into() })
    }

    /// What the commands print, with their exit codes.
    pub fn run(&self, windlass: &Path) -> Result<String, String> {
        let directory = tempfile::tempdir().map_err(|why| why.to_string())?;
        for (name, text) in &self.files {
            let path = directory.path().join(name);
            let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
            made.map_err(|why| format!("{name}: {why}"))?;
        }
        let mut seen = String::new();
        for command in &self.commands {
            // `< FILE` is the only thing of a shell that commands have.
            let (words, input) =
                command.split_once(" < ").map_or((command.as_str(), None), |(words, file)| (words, Some(file)));
            let mut run = Command::new(windlass);
            run.args(words.split_whitespace().map(|word| word.trim_matches('\''))).current_dir(directory.path());
            run.env("NO_COLOR", "1").env("RUST_LOG", "off");
            // No cluster of whoever runs the tests is asked.
            run.env("HOME", "/nonexistent").env_remove("KUBECONFIG").env_remove("KUBERNETES_SERVICE_HOST");
            run.stdin(match input {
                Some(file) => {
                    fs::File::open(directory.path().join(file)).map_err(|why| format!("{file}: {why}"))?.into()
                }
                None => Stdio::null(),
            });
            let output = run.output().map_err(|why| format!("windlass: {why}"))?;
            let _ = writeln!(seen, "$ windlass {command}");
            seen += &String::from_utf8_lossy(&output.stdout);
            for line in String::from_utf8_lossy(&output.stderr).lines() {
                let _ = writeln!(seen, "stderr: {line}");
            }
            let code = output.status.code().map_or("a signal".into(), |code| code.to_string());
            let _ = writeln!(seen, "exit {code}");
        }
        Ok(seen)
    }

    pub fn write(&self, file: &Path, expected: &str) -> Result<(), String> {
        fs::write(file, format!("{}{MARK}{expected}", self.input)).map_err(|why| why.to_string())
    }
}
