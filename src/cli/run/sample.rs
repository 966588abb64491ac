//! The built-in sample: objects that are written where they can be looked at and edited, and their two backends.

use super::backend;
use anyhow::Context;
use base::tasks::Tasks;
use std::path::{Path, PathBuf};

const FILES: [(&str, &str); 4] = [
    ("gateway.yaml", include_str!("../sample/gateway.yaml")),
    ("routes.yaml", include_str!("../sample/routes.yaml")),
    ("policy.yaml", include_str!("../sample/policy.yaml")),
    ("backends.yaml", include_str!("../sample/backends.yaml")),
];

/// Starts the backends, writes the objects, and says where they are.
///
/// # Errors
/// If there is no free port, or the data directory can't be written.
pub async fn start(data: &Path, tasks: &Tasks) -> anyhow::Result<PathBuf> {
    let red = backend::start("red", tasks).await?;
    let blue = backend::start("blue", tasks).await?;
    let directory = data.join("sample");
    std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
    for (name, text) in FILES {
        let text = text.replace("RED_PORT", &red.to_string()).replace("BLUE_PORT", &blue.to_string());
        let path = directory.join(name);
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(directory)
}

/// What to try.
pub fn hints(base: &str, directory: &Path) -> String {
    format!(
        "\nTry:\n  \
         curl -i {base}/                                           # 200, from red\n  \
         for i in $(seq 8); do curl -s {base}/split; done          # 3 of 4 from red, 1 from blue\n  \
         curl -i {base}/secret                                     # 403: the log line below says which rule, and why\n  \
         curl -H 'x-color: blue' {base}/                           # 200, from blue\n\n\
         The objects are in {}: edit them and watch what happens. Ctrl-C ends.\n",
        directory.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_has_no_problems() {
        let objects: usize = FILES
            .iter()
            .map(|(name, text)| {
                let read = api::manifest::read(name, &text.replace("RED_PORT", "1").replace("BLUE_PORT", "2"));
                assert_eq!(read.problems, []);
                read.objects.len()
            })
            .sum();
        assert_eq!(objects, 8);
    }
}
