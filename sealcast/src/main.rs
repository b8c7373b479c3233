//! The binary: parse, check, load, run, drain.

mod admin;
mod backup;
mod capacity;
mod certs;
mod cli;
mod health;
mod public;
mod ready;
#[cfg(test)]
mod reference;
mod role;
mod seal_check;
mod settings;
mod signals;
mod up;

use clap::CommandFactory as _;

use crate::cli::{Cli, Command};

/// Any thread makes and serves any of thousands of connections; with the system's allocator, threads wait for one another.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    node::files::raise_open_files_limit();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(Cli::of_process().command)));
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            // One line: what failed, then the causes, outermost first.
            eprintln!("sealcast: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Treats a broken pipe as success: the reader, such as `head`, has read all that it wants.
fn printed(outcome: anyhow::Result<()>) -> anyhow::Result<()> {
    outcome.or_else(|error| match error.downcast_ref::<std::io::Error>() {
        Some(unread) if unread.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up(flags) => up::run(&flags).await,
        Command::Ingest(flags) => role::ingest(&flags).await,
        Command::Broadcast(flags) => role::run(messages::Role::Broadcast, &flags).await,
        Command::Loadbalancer(flags) => role::run(messages::Role::LoadBalancer, &flags).await,
        Command::Control(flags) => role::control(&flags).await,
        Command::Source(flags) => role::source(&flags).await,
        Command::Stream(command) => printed(admin::stream::run(command).await),
        Command::Streamer(command) => printed(admin::streamer::run(command).await),
        Command::Token(command) => printed(admin::token::run(command).await),
        Command::Node(command) => printed(admin::node::run(command).await),
        Command::Tenant(command) => printed(admin::access::tenant(command).await),
        Command::Member(command) => printed(admin::member::run(command).await),
        Command::ApiKey(command) => printed(admin::access::api_key(command).await),
        Command::Issuer(command) => printed(admin::issuer::run(command).await),
        Command::Webhook(command) => printed(admin::webhook::run(command).await),
        Command::Audit(command) => printed(admin::access::audit(command).await),
        Command::Capacity(flags) => printed(capacity::run(&flags)),
        Command::Key(command) => printed(admin::key(command).await),
        Command::Root(command) => printed(admin::root::run(command).await),
        Command::Seal(command) => printed(seal_check::run(command).await),
        Command::Certs(flags) => certs::run(&flags),
        Command::Backup(flags) => backup::backup(&flags).await,
        Command::Restore(flags) => backup::restore(&flags).await,
        Command::Health(flags) => health::run(&flags).await,
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "sealcast", &mut std::io::stdout());
            Ok(())
        }
    }
}
