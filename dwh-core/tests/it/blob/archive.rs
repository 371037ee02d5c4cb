//! The move from `exports/` to `processed/`.
