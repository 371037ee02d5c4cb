//! The shape of the code: which module may know which, that no two files know each other, and what is public.

mod circles;
mod layering;
mod public_api;
mod tree;
