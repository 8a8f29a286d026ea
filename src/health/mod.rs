//! Is the node up? Probes and the verdict.
