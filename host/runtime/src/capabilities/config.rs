//! `wasi:config`, in its three published forms, over the actor's own configuration. A change of
//! configuration is seen by the next `get`, also of a running instance. A key that stands for a
//! secret is not there: secrets are read through `wasmcloud:secrets`.

use super::bindings::{config, config_rc1};
use crate::state::InstanceState;
use lattice_protocol::manifest::secret_ref;
use wasmtime::component::{HasSelf, Linker};

pub(crate) fn link(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    config::wasi::config::store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    config::wasi::config::runtime::add_to_linker::<_, HasSelf<_>>(linker, |state| state)?;
    config_rc1::wasi::config::store::add_to_linker::<_, HasSelf<_>>(linker, |state| state)
}

impl InstanceState {
    fn value(&self, key: &str) -> Option<String> {
        self.call.actor.config.load().get(key).filter(|value| secret_ref(value).is_none()).cloned()
    }
    fn values(&self) -> Vec<(String, String)> {
        let config = self.call.actor.config.load();
        let open = config.iter().filter(|(_, value)| secret_ref(value).is_none());
        open.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

macro_rules! answers {
    ($($interface:path, $error:ty;)*) => {$(
        impl $interface for InstanceState {
            fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, $error>> {
                self.call.may_look("wasi:config")?;
                Ok(Ok(self.value(&key)))
            }
            fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, $error>> {
                self.call.may_look("wasi:config")?;
                Ok(Ok(self.values()))
            }
        }
    )*};
}
answers! {
    config::wasi::config::store::Host, config::wasi::config::store::Error;
    config::wasi::config::runtime::Host, config::wasi::config::runtime::ConfigError;
    config_rc1::wasi::config::store::Host, config_rc1::wasi::config::store::Error;
}
