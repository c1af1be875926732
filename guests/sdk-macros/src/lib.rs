//! The attributes of `trellis-guest`. Those for a function or an `impl` leave it as it was written and add one macro
//! call below it; those for types add derives. Everything else is ordinary code in `trellis-guest`, where it can be
//! read and tested.

mod actor;
mod event;
mod function;
mod state;
mod types;

use proc_macro::TokenStream;

/// Serves HTTP with the function: `fn(Request) -> impl IntoResponse`, `Result<Response, Error>` for example.
/// The component then exports `wasi:http/incoming-handler@0.2.12`.
#[proc_macro_attribute]
pub fn http(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::attach("export_http", arguments, item)
}

/// Receives messages with the function: `fn(Message) -> Result<(), E>`, where `E` can be shown.
/// The component then exports `wasmcloud:messaging/handler@0.2.0`.
#[proc_macro_attribute]
pub fn message(arguments: TokenStream, item: TokenStream) -> TokenStream {
    function::attach("export_message", arguments, item)
}

/// Makes the component a persistent actor: on `impl Actor for …`, in one place of the crate. Adds what is not written
/// there: `type Reply = ()`, no queries but `state`, and `new` from `Default`.
/// The component then exports `trellis:actor/entity@0.1.0` and `trellis:actor/behaviour@0.1.0`.
///
/// `#[trellis_guest::actor(export = false)]` only fills in: for an actor in a library, and for tests.
#[proc_macro_attribute]
pub fn actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(actor::expand(arguments.into(), item.into()))
}

/// Makes the component a persistent actor that is a set of keys, on
/// `fn(&mut Keys, &Turn, Command) -> Result<T, Refusal>`, where `Command` has `#[commands]` and `T` becomes JSON.
#[proc_macro_attribute]
pub fn kv_actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(actor::expand_keys(arguments.into(), item.into()))
}

/// An enum of commands, or of queries: each variant is one, named in kebab-case, with the JSON of its fields as its body.
#[proc_macro_attribute]
pub fn commands(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(types::commands(arguments.into(), item.into()))
}

/// An enum of events: each variant is one, named in kebab-case, with the JSON of its fields as its payload.
/// `#[event(version = 2, upcast = function)]` on a variant gives its version, and
/// `fn(version: u32, old: Value) -> Result<Value, String>` that makes today's JSON of an older one;
/// `#[event(retired = function)]` on the enum names
/// `fn(name: &str, version: u32, old: Value) -> Result<Vec<Self>, String>` for events that no variant has any more.
#[proc_macro_attribute]
pub fn events(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(types::events(arguments.into(), item.into()))
}

/// A type in an actor's state, or the state itself. Its fields must be written in one way only: `BTreeMap`, not
/// `HashMap`. `#[state(version = 2, upcast = function)]` as for events; `#[state(ordered)]` on a field vouches for a
/// foreign type.
#[proc_macro_attribute]
pub fn state(arguments: TokenStream, item: TokenStream) -> TokenStream {
    finish(types::state(arguments.into(), item.into()))
}

/// What `events` derives. Not for use by hand.
#[doc(hidden)]
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(item: TokenStream) -> TokenStream {
    finish(event::expand(item.into()))
}

/// What `state` derives. Not for use by hand.
#[doc(hidden)]
#[proc_macro_derive(State, attributes(state))]
pub fn derive_state(item: TokenStream) -> TokenStream {
    finish(state::expand(item.into()))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(|error| error.to_compile_error()).into()
}
