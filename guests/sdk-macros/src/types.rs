//! Attributes on types: they add derives, and say where serde is found, so that an author needs no crate but one.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Result};

/// An enum, or an error that says so.
fn an_enum(item: TokenStream, what: &str) -> Result<DeriveInput> {
    let item: DeriveInput = syn::parse2(item)?;
    match item.data {
        syn::Data::Enum(_) => Ok(item),
        _ => Err(syn::Error::new(item.ident.span(), format!("{what} are the variants of an enum"))),
    }
}

fn without_arguments(arguments: &TokenStream) -> Result<()> {
    if arguments.is_empty() {
        return Ok(());
    }
    Err(syn::Error::new_spanned(arguments, "this attribute takes no arguments"))
}

/// Serde's derives, with names in kebab-case where they are names of messages.
fn serde(names: bool) -> TokenStream {
    let rename = names.then(|| quote!(, rename_all = "kebab-case"));
    quote! {
        #[derive(::trellis_guest::private::serde::Serialize, ::trellis_guest::private::serde::Deserialize)]
        #[serde(crate = "::trellis_guest::private::serde" #rename)]
    }
}

pub(crate) fn commands(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    without_arguments(&arguments)?;
    let item = an_enum(item, "commands")?;
    let name = &item.ident;
    let (parameters, arguments, wheres) = item.generics.split_for_impl();
    let serde = serde(true);
    Ok(quote! {
        #[derive(Debug, Clone, PartialEq)]
        #serde
        #item

        impl #parameters ::trellis_guest::actor::Command for #name #arguments #wheres {
            fn decode(
                name: &str,
                body: &[u8],
            ) -> ::core::result::Result<Self, ::trellis_guest::actor::Problem> {
                ::trellis_guest::actor::decode_command(name, body)
            }
            fn encode(
                &self,
            ) -> ::core::result::Result<::trellis_guest::actor::RawCommand, ::std::string::String> {
                ::trellis_guest::actor::encode_command(self)
            }
        }
    })
}

pub(crate) fn events(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    without_arguments(&arguments)?;
    let item = an_enum(item, "events")?;
    let serde = serde(true);
    Ok(quote! {
        #[derive(Debug, Clone, PartialEq, ::trellis_guest::private::Event)]
        #serde
        #item
    })
}

pub(crate) fn state(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let given = (!arguments.is_empty()).then(|| quote!(#[state(#arguments)]));
    let serde = serde(false);
    Ok(quote! {
        #[derive(Debug, Clone, PartialEq, ::trellis_guest::private::State)]
        #serde
        #given
        #item
    })
}
