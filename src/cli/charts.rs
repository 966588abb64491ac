//! The Helm charts, as this program was built with them.

use anyhow::Context;
use std::{fs, path::Path};

include!(concat!(env!("OUT_DIR"), "/charts.rs"));

/// Writes all charts below a directory.
///
/// # Errors
/// If the directory can't be written.
pub fn write(to: &Path) -> anyhow::Result<()> {
    for (name, text) in FILES {
        let path = to.join(name);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        written.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn all_charts_are_whole() {
        for chart in ["base", "control", "gateway"] {
            for file in ["Chart.yaml", "values.yaml", "values.schema.json", "templates/NOTES.txt"] {
                let name = format!("{chart}/{file}");
                assert!(super::FILES.iter().any(|(one, text)| *one == name && !text.is_empty()), "{name}");
            }
        }
        assert!(super::FILES.iter().any(|(name, _)| name.ends_with("_helpers.tpl")), "helm reads hidden names too");
    }
}
