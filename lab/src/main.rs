//! The `cargo lab` command.

fn main() -> std::process::ExitCode {
    lab::cli::main()
}
