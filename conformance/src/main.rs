//! `conformance`: the command line.

fn main() -> std::process::ExitCode {
    conformance::cli::run()
}
