//! The binary: everything is in the library.

use std::process::ExitCode;

/// Huge pages under it are turned off at start: they would cost three times the memory of a stream.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    weir::cli::main()
}
