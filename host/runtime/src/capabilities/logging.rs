//! `wasi:logging`, with and without its draft version, into the actor's bounded log.

use super::bindings::{logging, logging_unversioned};
use crate::state::InstanceState;
use tracing::Level;
use wasmtime::component::{HasSelf, Linker};

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    logging::wasi::logging::logging::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    logging_unversioned::wasi::logging::logging::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

macro_rules! logs {
    ($($interface:ident),*) => {$(
        impl $interface::wasi::logging::logging::Host for InstanceState {
            fn log(
                &mut self,
                level: $interface::wasi::logging::logging::Level,
                context: String,
                message: String,
            ) -> wasmtime::Result<()> {
                self.call.may_look("wasi:logging/logging")?;
                use $interface::wasi::logging::logging::Level as Said;
                let level = match level {
                    Said::Trace => Level::TRACE,
                    Said::Debug => Level::DEBUG,
                    Said::Info => Level::INFO,
                    Said::Warn => Level::WARN,
                    Said::Error | Said::Critical => Level::ERROR,
                };
                self.call.actor.log.line(level, &context, &message);
                Ok(())
            }
        }
    )*};
}
logs!(logging, logging_unversioned);
