//! Where a test lives: a loopback network of its own, a directory of its own, and the programs under test.

use anyhow::{Context, Result, bail};
use std::{
    env, fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};
use tempfile::TempDir;

/// A /24 of 127.0.0.0/8 and a directory, both the test's own: fixtures run side by side without a clash of ports, and
/// addresses stay the same when a process is started again.
pub struct Place {
    network: [u8; 3],
    directory: Option<TempDir>,
    _guard: TcpListener,
}

/// The port that a place's first address holds so that nobody else takes the place.
const GUARD: u16 = 47_123;

impl Place {
    /// Takes a free place.
    pub fn take() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        for _ in 0..1000 {
            let number = std::process::id().wrapping_mul(7).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
            let network = [127, 16 + (number / 250 % 200) as u8, (number % 250) as u8];
            let address = IpAddr::from([network[0], network[1], network[2], 1]);
            if let Ok(guard) = TcpListener::bind((address, GUARD)) {
                let directory = tempfile::Builder::new().prefix("windlass-test-").tempdir()?;
                return Ok(Self { network, directory: Some(directory), _guard: guard });
            }
        }
        bail!("no free loopback network in 127.16.0.0 to 127.215.249.0");
    }

    /// An address of the network, by its last number.
    pub fn address(&self, last: u8) -> IpAddr {
        Ipv4Addr::new(self.network[0], self.network[1], self.network[2], last).into()
    }

    /// Text with the network in the place of `$NET`: `$NET.7` is an address of it.
    pub fn fill(&self, text: &str) -> String {
        let [a, b, c] = self.network;
        text.replace("$NET", &format!("{a}.{b}.{c}"))
    }

    /// The control plane's address for a port.
    pub fn control(&self, port: u16) -> SocketAddr {
        (self.address(1), port).into()
    }

    /// The directory, which is removed at the end unless the test fails or `WINDLASS_KEEP` is set.
    pub fn directory(&self) -> &Path {
        self.directory.as_ref().map_or(Path::new("/nonexistent"), TempDir::path)
    }

    /// A directory within, made if absent.
    pub fn make(&self, name: &str) -> Result<PathBuf> {
        let path = self.directory().join(name);
        std::fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if (std::thread::panicking() || env::var_os("WINDLASS_KEEP").is_some())
            && let Some(directory) = self.directory.take()
        {
            eprintln!("kept: {}", directory.keep().display());
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({})", self.address(0))
    }
}

/// A program of this workspace, from the directory of the test's own profile, or the first of those in `WINDLASS_BIN` that
/// has it.
pub fn program(name: &str) -> Result<PathBuf> {
    let directories: Vec<PathBuf> = match env::var_os("WINDLASS_BIN") {
        Some(directories) => env::split_paths(&directories).collect(),
        // target/<profile>/deps/<test> or target/<profile>/<program>
        None => {
            let own = env::current_exe()?;
            let directory = own.parent().context("no target directory")?;
            let is_deps = directory.file_name().is_some_and(|name| name == "deps");
            let directory = if is_deps { directory.parent().context("no target directory")? } else { directory };
            vec![directory.to_path_buf()]
        }
    };
    let mut paths = directories.iter().map(|directory| directory.join(name));
    paths.find(|path| path.exists()).with_context(|| {
        format!("{name} is not built, looked for in {directories:?}: cargo build -p cli -p proxy, or run tests/run")
    })
}

/// Where `tests/run` keeps what it downloads.
pub fn cache() -> PathBuf {
    let home = env::var_os("HOME").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    env::var_os("WINDLASS_CACHE").map_or_else(|| home.join(".cache/windlass"), PathBuf::from)
}

/// Stock Envoy: `ENVOY`, or what `tests/run` unpacked.
pub fn envoy() -> Result<PathBuf> {
    let path = env::var_os("ENVOY").map_or_else(|| cache().join("envoy-1.40/envoy"), PathBuf::from);
    if !path.exists() {
        bail!("no Envoy at {}: tests/run installs it, or set ENVOY", path.display());
    }
    Ok(path)
}
