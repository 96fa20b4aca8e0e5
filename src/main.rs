//! The command line program `polls`.

use std::process::ExitCode;

fn main() -> ExitCode {
    polls::cli::main()
}
