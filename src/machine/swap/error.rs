//! Why there is no swap file, in words.

use super::{LINE, MARGIN};
use crate::error::{Exit, Explain};
use std::io;
use std::path::PathBuf;

/// Why there is no swap file.
#[derive(Debug, thiserror::Error)]
pub enum SwapError {
    /// No size, or one that no file can have.
    #[error("a swap file of {mib} MiB cannot be made")]
    Size {
        /// What was asked for.
        mib: u64,
    },
    /// The kernel has no swap at all.
    #[error("this kernel has no swap: {} is missing", path.display())]
    Kernel {
        /// `/proc/swaps`.
        path: PathBuf,
    },
    /// Something that is no file has the swap file's name.
    #[error("{} is in the way: it is not a regular file", path.display())]
    InTheWay {
        /// The swap file's name.
        path: PathBuf,
    },
    /// Too little space.
    #[error(
        "{} has {free} MiB free, and {mib} MiB of swap and {margin} MiB to spare do not fit",
        path.display(),
        margin = MARGIN >> 20
    )]
    Space {
        /// The directory.
        path: PathBuf,
        /// What is free, in MiB.
        free: u64,
        /// What was asked for, in MiB.
        mib: u64,
    },
    /// A program is missing.
    #[error("this machine has no {name}")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// The file cannot be made.
    #[error("{} cannot be made", path.display())]
    Make {
        /// The swap file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `mkswap` or `swapon` failed; the file is gone again.
    #[error(
        "{name} failed on {}{}",
        path.display(),
        filesystem.map(|name| format!(", which lies on {name}")).unwrap_or_default()
    )]
    Program {
        /// The program.
        name: &'static str,
        /// The swap file.
        path: PathBuf,
        /// The file's filesystem, where it is one that swap files have trouble with.
        filesystem: Option<&'static str>,
        /// Its own words.
        #[source]
        source: io::Error,
    },
    /// Swap is on, but will not be after the next boot.
    #[error("{} cannot be given its line for the swap file", path.display())]
    Fstab {
        /// The fstab.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Explain for SwapError {
    fn reason(&self) -> &'static str {
        match self {
            SwapError::Size { .. } => "swap.size",
            SwapError::Kernel { .. } => "swap.kernel",
            SwapError::InTheWay { .. } => "swap.in-the-way",
            SwapError::Space { .. } => "swap.no-space",
            SwapError::Missing { .. } => "swap.program-missing",
            SwapError::Make { .. } => "swap.make",
            SwapError::Program { name: "mkswap", .. } => "swap.mkswap",
            SwapError::Program { .. } => "swap.switch-on",
            SwapError::Fstab { .. } => "swap.fstab",
        }
    }

    fn help(&self) -> String {
        match self {
            SwapError::Size { .. } => "ask for at least 1 MiB, or for no swap".into(),
            SwapError::Kernel { .. } => "do not ask for swap on this machine".into(),
            SwapError::InTheWay { path } => format!("move {} away, or do not ask for swap", path.display()),
            SwapError::Space { .. } => "give the machine a larger disk, or ask for less swap".into(),
            SwapError::Missing { .. } => "install util-linux into the image, or do not ask for swap".into(),
            SwapError::Make { path, .. } => {
                format!(
                    "look at `df -h {0}` and `mount`; {0} must be writable",
                    path.parent().unwrap_or(path).display()
                )
            }
            SwapError::Program { filesystem: Some(_), .. } => {
                "use a swap partition or a /var on ext4 or xfs; swapon(8), NOTES, says which files can be swap".into()
            }
            SwapError::Program { .. } => {
                "the cause above is its own; inside a container swap is the host's business: do not ask for it there"
                    .into()
            }
            SwapError::Fstab { .. } => format!("add the line `{LINE}` by hand"),
        }
    }

    fn exit(&self) -> Exit {
        Exit::Unexpected
    }
}
