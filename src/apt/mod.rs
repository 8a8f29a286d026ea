//! The package manager: its locks, its timers, and what the installer's own apt is told.
