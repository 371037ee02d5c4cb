//! All that is wrong with a file, at once.
