//! Programs that use dwh-core: one a file, in the folder above.
