//! The running system, whatever `--root` says: its processes, the locks they hold, and its units.

pub mod holder;
pub mod systemctl;
