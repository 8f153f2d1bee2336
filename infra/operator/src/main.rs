//! The admin's command: environment in, exit code out. Everything else is in the modules.

mod arguments;
mod cloud;
mod columns;
mod command;
mod consent;
mod credentials;
mod deals;
mod definitions;
mod doctor;
mod fit;
mod function;
mod loopback;
mod mapping_check;
mod metadata;
mod page;
mod prompt;
mod registration;
mod screen;
mod settings;
mod sign_in;
mod trouble;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where the lookup that settings are read through is made"
    )]
    let environment = |name: &str| std::env::var(name).ok();
    command::run(&environment)
}
