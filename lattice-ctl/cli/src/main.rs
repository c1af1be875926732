//! `trellis`: builds, signs, deploys and watches actors, and is itself the host, the controller and
//! the one-process lattice. It is the composition root: the only crate that sees both sides.
//!
//! Every command ends in a [`Report`] or in success; the report's code gives the exit status
//! (2 usage or manifest, 3 trust, 4 denied, 5 not found, 6 resources, 7 state, 8 input or output,
//! 9 timeout, 1 a defect of ours).
//!
//! Features, both by default: `operator`, everything but `host`, `provider` and `version`; `compiler`, without which a host runs
//! only what others have compiled for it (`trellis compile`); `operator` brings the compiler, and that for other processors.

#![cfg_attr(
    not(feature = "operator"),
    allow(
        dead_code,
        reason = "a gateway's build shares its modules with the operator's, and uses a part of them"
    )
)]

#[cfg(feature = "operator")]
mod app_files;
mod args;
#[cfg(feature = "operator")]
mod artifacts;
#[cfg(feature = "operator")]
mod client;
mod commands;
#[cfg(feature = "operator")]
mod component;
mod compose;
mod connect;
#[cfg(feature = "operator")]
mod context;
mod footprint;
#[cfg(feature = "operator")]
mod home;
mod keyfile;
mod lattice_dir;
#[cfg(feature = "operator")]
mod native;
#[cfg(feature = "operator")]
mod nats_server;
#[cfg(feature = "operator")]
mod oci;
mod output;
#[cfg(feature = "operator")]
mod project;
#[cfg(feature = "operator")]
mod reference;
#[cfg(feature = "operator")]
mod signing;
#[cfg(feature = "operator")]
mod up_state;

use clap::Parser;
use lattice_protocol::Report;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    output::init_logs(&args);
    let runtime = match threads().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&args, &output::io_report("start the runtime", &error)),
    };
    match runtime.block_on(commands::run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => fail(&args, &report),
    }
}

/// The threads that everything runs on.
fn threads() -> tokio::runtime::Builder {
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    threads.enable_all().on_thread_park(footprint::sleeping);
    threads
}

/// What clap says: help and version as they are, a mistake as one report like all others.
fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        output::raw(&error.render().to_string());
        return ExitCode::SUCCESS;
    }
    let report = output::usage_report(error);
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        output::raw_error(&error.render().to_string());
    } else {
        output::raw_error(&report.to_string());
    }
    ExitCode::from(report.code.class().exit_status())
}

fn fail(args: &args::Args, report: &Report) -> ExitCode {
    output::error(args, report);
    ExitCode::from(report.code.class().exit_status())
}
