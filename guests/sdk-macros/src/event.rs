//! `Event` for an enum: names and versions of its variants, and how older ones are read.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, LitInt, LitStr, Path, Result, Variant};

/// What `#[event(…)]` says.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) version: Option<LitInt>,
    pub(crate) upcast: Option<Path>,
    retired: Option<Path>,
    pub(crate) ordered: bool,
}

/// Reads the attributes of that name.
pub(crate) fn given(attributes: &[syn::Attribute], name: &str) -> Result<Given> {
    let mut given = Given::default();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident(name)) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("version") {
                given.version = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("upcast") {
                given.upcast = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("retired") && name == "event" {
                given.retired = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("ordered") && name == "state" {
                given.ordered = true;
            } else {
                return Err(meta.error("unknown here; known are version = 2, upcast = function"));
            }
            Ok(())
        })?;
    }
    Ok(given)
}

/// The name under which serde writes a variant: as renamed, else in kebab-case by serde's rule.
fn wire_name(variant: &Variant) -> Result<String> {
    let mut name = None;
    for attribute in variant.attrs.iter().filter(|attribute| attribute.path().is_ident("serde")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename") {
                name = Some(meta.value()?.parse::<LitStr>()?.value());
            } else if meta.input.peek(syn::Token![=]) {
                meta.value()?.parse::<syn::Expr>()?;
            }
            Ok(())
        })?;
    }
    Ok(name.unwrap_or_else(|| kebab_case(&variant.ident.to_string())))
}

fn kebab_case(camel: &str) -> String {
    let mut kebab = String::new();
    for (index, character) in camel.char_indices() {
        if index > 0 && character.is_uppercase() {
            kebab.push('-');
        }
        kebab.extend(character.to_lowercase());
    }
    kebab
}

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let item: DeriveInput = syn::parse2(item)?;
    let Data::Enum(data) = &item.data else {
        return Err(Error::new(item.ident.span(), "events are the variants of an enum"));
    };
    let (mut versions, mut upcasts) = (Vec::new(), Vec::new());
    for variant in &data.variants {
        let given = given(&variant.attrs, "event")?;
        let name = wire_name(variant)?;
        let version = match &given.version {
            None => 1,
            Some(literal) => literal.base10_parse::<u32>()?,
        };
        match (&given.upcast, version) {
            (_, 0) => return Err(Error::new_spanned(&given.version, "versions begin at 1")),
            (Some(function), _) => upcasts.push(quote! {
                #name => ::trellis_guest::actor::from_upcast(name, #function(version, payload)),
            }),
            (None, 1) => {}
            (None, _) => {
                let message = "say how older versions are read: upcast = function";
                return Err(Error::new_spanned(&given.version, message));
            }
        }
        versions.push(quote!((#name, #version)));
    }
    let retired = match given(&item.attrs, "event")?.retired {
        Some(function) => quote!(#function(name, version, payload)),
        None => quote!(::core::result::Result::Err(::std::string::String::from(
            "unknown to this component, and not among those that it says it has retired"
        ))),
    };
    let name = &item.ident;
    let (parameters, arguments, wheres) = item.generics.split_for_impl();
    Ok(quote! {
        impl #parameters ::trellis_guest::actor::Event for #name #arguments #wheres {
            const VERSIONS: &'static [(&'static str, u32)] = &[#(#versions),*];

            #[allow(unused_variables, reason = "not every event has older versions")]
            fn upcast(
                name: &str,
                version: u32,
                payload: ::trellis_guest::actor::Value,
            ) -> ::core::result::Result<::std::vec::Vec<Self>, ::std::string::String> {
                match name {
                    #(#upcasts)*
                    _ => #retired,
                }
            }
        }
    })
}
