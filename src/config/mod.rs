//! Configuration: files become checked structs, or a full list of what is wrong and how to mend it.

pub mod problem;
