//! Kasm's own flags, as `install` and `upgrade` take them.
