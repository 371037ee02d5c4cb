//! Looking at everything that a run depends on.
