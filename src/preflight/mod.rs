//! Questions asked before anything is touched, each with a remedy.
