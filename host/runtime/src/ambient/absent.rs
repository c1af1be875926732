//! Files and sockets, which no actor has: lists of them are empty, and asking for one is `access-denied`.
//!
//! So no guest ever has a handle of a file or a socket, and what works on one cannot be called. That is why
//! none of it is here: one function answers for all, by its type, and the engine's libraries for real files and
//! sockets are no part of the program (a tenth of a gateway's).
//!
//! Invariant: every function of these interfaces is in the tables, as a component may import any (held to
//! the WIT texts by the tests).

use crate::state::InstanceState;
use wasmtime::component::types::ComponentFunc;
use wasmtime::component::{Linker, ResourceType, Type, Val};
use wasmtime::{Result, StoreContextMut, bail};

/// An interface and what it has; several names are one text, with spaces between.
pub(super) struct Absent {
    interface: &'static str,
    /// Functions that belong to no resource.
    functions: &'static str,
    /// The same, `async`.
    async_functions: &'static str,
    resources: &'static [Resource],
}

struct Resource {
    name: &'static str,
    constructors: &'static str,
    methods: &'static str,
    async_methods: &'static str,
}

const NO_RESOURCE: Resource = Resource { name: "", constructors: "", methods: "", async_methods: "" };
const NO_INTERFACE: Absent = Absent { interface: "", functions: "", async_functions: "", resources: &[] };

/// Of WASI 0.2.
pub(super) const WASI_2: &[Absent] = &[
    Absent {
        interface: "wasi:filesystem/types@0.2.12",
        functions: "filesystem-error-code",
        resources: &[
            Resource {
                name: "descriptor",
                methods: "read-via-stream write-via-stream append-via-stream advise sync-data get-flags get-type \
                    set-size set-times read write read-directory sync create-directory-at stat stat-at set-times-at \
                    link-at open-at readlink-at remove-directory-at rename-at symlink-at unlink-file-at \
                    is-same-object metadata-hash metadata-hash-at",
                ..NO_RESOURCE
            },
            Resource { name: "directory-entry-stream", methods: "read-directory-entry", ..NO_RESOURCE },
        ],
        ..NO_INTERFACE
    },
    Absent { interface: "wasi:filesystem/preopens@0.2.12", functions: "get-directories", ..NO_INTERFACE },
    Absent {
        interface: "wasi:sockets/tcp@0.2.12",
        resources: &[Resource {
            name: "tcp-socket",
            methods: "start-bind finish-bind start-connect finish-connect start-listen finish-listen accept \
                local-address remote-address is-listening address-family set-listen-backlog-size \
                keep-alive-enabled set-keep-alive-enabled keep-alive-idle-time set-keep-alive-idle-time \
                keep-alive-interval set-keep-alive-interval keep-alive-count set-keep-alive-count hop-limit \
                set-hop-limit receive-buffer-size set-receive-buffer-size send-buffer-size set-send-buffer-size \
                subscribe shutdown",
            ..NO_RESOURCE
        }],
        ..NO_INTERFACE
    },
    Absent {
        interface: "wasi:sockets/tcp-create-socket@0.2.12",
        functions: "create-tcp-socket",
        ..NO_INTERFACE
    },
    Absent {
        interface: "wasi:sockets/udp@0.2.12",
        resources: &[
            Resource {
                name: "udp-socket",
                methods: "start-bind finish-bind stream local-address remote-address address-family \
                    unicast-hop-limit set-unicast-hop-limit receive-buffer-size set-receive-buffer-size \
                    send-buffer-size set-send-buffer-size subscribe",
                ..NO_RESOURCE
            },
            Resource { name: "incoming-datagram-stream", methods: "receive subscribe", ..NO_RESOURCE },
            Resource {
                name: "outgoing-datagram-stream",
                methods: "check-send send subscribe",
                ..NO_RESOURCE
            },
        ],
        ..NO_INTERFACE
    },
    Absent {
        interface: "wasi:sockets/udp-create-socket@0.2.12",
        functions: "create-udp-socket",
        ..NO_INTERFACE
    },
    Absent {
        interface: "wasi:sockets/ip-name-lookup@0.2.12",
        functions: "resolve-addresses",
        resources: &[Resource {
            name: "resolve-address-stream",
            methods: "resolve-next-address subscribe",
            ..NO_RESOURCE
        }],
        ..NO_INTERFACE
    },
];

/// Of WASI 0.3.
pub(super) const WASI_3: &[Absent] = &[
    Absent {
        interface: "wasi:filesystem/types@0.3.0",
        resources: &[Resource {
            name: "descriptor",
            methods: "read-via-stream write-via-stream append-via-stream read-directory",
            async_methods: "advise sync-data get-flags get-type set-size set-times sync create-directory-at stat \
                stat-at set-times-at link-at open-at readlink-at remove-directory-at rename-at symlink-at \
                unlink-file-at is-same-object metadata-hash metadata-hash-at",
            ..NO_RESOURCE
        }],
        ..NO_INTERFACE
    },
    Absent { interface: "wasi:filesystem/preopens@0.3.0", functions: "get-directories", ..NO_INTERFACE },
    Absent {
        interface: "wasi:sockets/types@0.3.0",
        resources: &[
            Resource {
                name: "tcp-socket",
                constructors: "create",
                methods: "bind listen send receive get-local-address get-remote-address get-is-listening \
                    get-address-family set-listen-backlog-size get-keep-alive-enabled set-keep-alive-enabled \
                    get-keep-alive-idle-time set-keep-alive-idle-time get-keep-alive-interval \
                    set-keep-alive-interval get-keep-alive-count set-keep-alive-count get-hop-limit \
                    set-hop-limit get-receive-buffer-size set-receive-buffer-size get-send-buffer-size \
                    set-send-buffer-size",
                async_methods: "connect",
            },
            Resource {
                name: "udp-socket",
                constructors: "create",
                methods: "bind connect disconnect get-local-address get-remote-address get-address-family \
                    get-unicast-hop-limit set-unicast-hop-limit get-receive-buffer-size set-receive-buffer-size \
                    get-send-buffer-size set-send-buffer-size",
                async_methods: "send receive",
            },
        ],
        ..NO_INTERFACE
    },
    Absent {
        interface: "wasi:sockets/ip-name-lookup@0.3.0",
        async_functions: "resolve-addresses",
        ..NO_INTERFACE
    },
];

impl Absent {
    /// Its functions by their names in a component, and which of them are `async`.
    fn functions(&self) -> impl Iterator<Item = (String, bool)> {
        let own = [(self.functions, false), (self.async_functions, true)];
        let own = own.into_iter().map(|(names, is_async)| (String::new(), names, is_async));
        let of_resources = self.resources.iter().flat_map(|resource| {
            let named = |kind| format!("[{kind}]{}.", resource.name);
            [
                (named("static"), resource.constructors, false),
                (named("method"), resource.methods, false),
                (named("method"), resource.async_methods, true),
            ]
        });
        own.chain(of_resources).flat_map(|(before, names, is_async)| {
            names.split_whitespace().map(move |name| (format!("{before}{name}"), is_async))
        })
    }
}

/// Defines interfaces of which there is nothing.
pub(super) fn link<'absent>(
    linker: &mut Linker<InstanceState>,
    interfaces: impl IntoIterator<Item = &'absent Absent>,
) -> Result<()> {
    let mut resources = 0;
    for absent in interfaces {
        let mut instance = linker.instance(absent.interface)?;
        for resource in absent.resources {
            // By its number each is a type of its own.
            instance.resource(resource.name, ResourceType::host_dynamic(resources), |_, _| Ok(()))?;
            resources += 1;
        }
        for (name, is_async) in absent.functions() {
            if is_async {
                instance.func_new_concurrent(&name, |_, function, _, results| {
                    Box::pin(std::future::ready(answer(&function, results)))
                })?;
            } else {
                instance.func_new_async(&name, |store, function, params, results| {
                    Box::new(async move {
                        give_back(store, params).await?;
                        answer(&function, results)
                    })
                })?;
            }
        }
    }
    Ok(())
}

/// What was lent for the call: a network, an error.
async fn give_back(mut store: StoreContextMut<'_, InstanceState>, params: &[Val]) -> Result<()> {
    for param in params {
        if let Val::Resource(resource) = param {
            resource.resource_drop_async(&mut store).await?;
        }
    }
    Ok(())
}

/// What a function says of what there is none of.
fn answer(function: &ComponentFunc, results: &mut [Val]) -> Result<()> {
    for (slot, ty) in results.iter_mut().zip(function.results()) {
        let Some(nothing) = nothing(&ty) else { bail!("no actor has files or sockets") };
        *slot = nothing;
    }
    Ok(())
}

fn nothing(ty: &Type) -> Option<Val> {
    const DENIED: &str = "access-denied";
    match ty {
        Type::List(_) => Some(Val::List(Vec::new())),
        Type::Option(_) => Some(Val::Option(None)),
        Type::Result(result) => {
            let error = match result.err()? {
                Type::Enum(cases) => {
                    cases.names().any(|name| name == DENIED).then(|| Val::Enum(DENIED.into()))
                }
                Type::Variant(cases) => {
                    let denied = cases.cases().any(|case| case.name == DENIED && case.ty.is_none());
                    denied.then(|| Val::Variant(DENIED.into(), None))
                }
                _ => None,
            };
            Some(Val::Result(Err(Some(Box::new(error?)))))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
