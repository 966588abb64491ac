//! The real helm, with the charts that this program was built with.

use crate::{charts, cluster::Flags};
use anyhow::{Context, bail, ensure};
use clap::Args;
use std::{
    ffi::OsString,
    io::ErrorKind,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The release of Istio's kinds.
pub const BASE: &str = "windlass-base";
/// The release of the control plane; each revision has one of its own.
pub const CONTROL: &str = "windlass-control";

/// Which helm.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub struct Program {
    /// The helm program, version 3.14 or newer.
    #[arg(long, value_name = "FILE", default_value = "helm", env = "HELM_BIN")]
    helm: PathBuf,
}

/// Helm for one cluster and namespace.
pub struct Helm {
    program: PathBuf,
    common: Vec<OsString>,
    charts: tempfile::TempDir,
}

impl Helm {
    /// Puts the charts where helm finds them, and looks whether helm is there.
    ///
    /// # Errors
    /// If it isn't.
    pub fn new(program: &Program, flags: &Flags) -> anyhow::Result<Self> {
        let charts = tempfile::tempdir().context("a directory for the charts")?;
        charts::write(charts.path())?;
        let mut common = vec!["--namespace".into(), flags.istio_namespace.clone().into()];
        if let Some(file) = &flags.kubeconfig {
            common.extend(["--kubeconfig".into(), file.into()]);
        }
        if let Some(context) = &flags.context {
            common.extend(["--kube-context".into(), context.into()]);
        }
        let helm = Self { program: program.helm.clone(), common, charts };
        helm.run(&["version".into()])?;
        Ok(helm)
    }

    /// Installs a release or brings it up to date, without waiting for its pods.
    ///
    /// # Errors
    /// In helm's words.
    pub fn upgrade(&self, release: &str, chart: &str, more: &[OsString]) -> anyhow::Result<()> {
        let chart = self.charts.path().join(chart).into();
        let mut words: Vec<OsString> = ["upgrade", "--install", release].map(Into::into).to_vec();
        words.extend([chart, "--create-namespace".into(), "--reset-then-reuse-values".into()]);
        words.extend(more.iter().cloned());
        self.run(&words)
    }

    /// Whether there is such a release.
    ///
    /// # Errors
    /// In helm's words.
    pub fn has(&self, release: &str) -> anyhow::Result<bool> {
        match self.run(&["status", release].map(Into::into)) {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("not found") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a release away, and waits until its objects are gone.
    ///
    /// # Errors
    /// In helm's words.
    pub fn uninstall(&self, release: &str) -> anyhow::Result<()> {
        self.run(&["uninstall", release, "--wait"].map(Into::into))
    }

    fn run(&self, words: &[OsString]) -> anyhow::Result<()> {
        let mut command = Command::new(&self.program);
        command.args(words).args(&self.common).stdin(Stdio::null());
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == ErrorKind::NotFound => bail!(
                "wanted helm, and {} isn't there: install it (https://helm.sh/docs/intro/install), or name it by --helm",
                self.program.display()
            ),
            Err(error) => return Err(error).with_context(|| self.program.display().to_string()),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        let verb = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        ensure!(output.status.success(), "helm {verb}: {}", said.trim().trim_start_matches("Error: "));
        Ok(())
    }
}
