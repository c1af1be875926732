//! WASI's own packages, which are always there. Input, output, clocks and random numbers are the engine's
//! libraries'; files and sockets are [`absent`].

mod absent;

use crate::engine::Profile;
use crate::state::InstanceState;
use wasmtime::component::{HasData, Linker, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{WasiClocks, WasiClocksView};
use wasmtime_wasi::p3;
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};

/// The type of what a function of `wasi:io` works on.
struct Table;

impl HasData for Table {
    type Data<'table> = &'table mut ResourceTable;
}

/// Defines them. Called once per engine profile.
pub(crate) fn link(linker: &mut Linker<InstanceState>, profile: Profile) -> wasmtime::Result<()> {
    io(linker)?;
    world(linker)?;
    if profile == Profile::Plain {
        return absent::link(linker, absent::WASI_2);
    }
    p3::cli::add_to_linker(linker)?;
    p3::clocks::add_to_linker(linker)?;
    p3::random::add_to_linker(linker)?;
    absent::link(linker, absent::WASI_2.iter().chain(absent::WASI_3))
}

fn io(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    use wasmtime_wasi_io::bindings::wasi::io::{error, poll, streams};

    error::add_to_linker::<_, Table>(linker, |state| &mut state.table)?;
    poll::add_to_linker::<_, Table>(linker, |state| &mut state.table)?;
    streams::add_to_linker::<_, Table>(linker, |state| &mut state.table)
}

fn world(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::{LinkOptions, cli, clocks, random, sockets};

    clocks::wall_clock::add_to_linker::<_, WasiClocks>(linker, InstanceState::clocks)?;
    clocks::monotonic_clock::add_to_linker::<_, WasiClocks>(linker, InstanceState::clocks)?;
    random::random::add_to_linker::<_, WasiRandom>(linker, InstanceState::random)?;
    random::insecure::add_to_linker::<_, WasiRandom>(linker, InstanceState::random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(linker, InstanceState::random)?;
    cli::exit::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(linker, InstanceState::cli)?;
    // A network that nothing is reached by: what sockets are asked for with.
    let options = LinkOptions::default();
    sockets::instance_network::add_to_linker::<_, WasiSockets>(linker, InstanceState::sockets)?;
    sockets::network::add_to_linker::<_, WasiSockets>(linker, &(&options).into(), InstanceState::sockets)
}
