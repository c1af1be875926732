//! `Ordered` and `Form` for a type in a state: every field is checked where it stands.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Result};

use crate::event::given;

pub(crate) fn expand(item: TokenStream) -> Result<TokenStream> {
    let mut item: DeriveInput = syn::parse2(item)?;
    let fields: Vec<&Field> = match &item.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data.variants.iter().flat_map(|variant| &variant.fields).collect(),
        Data::Union(_) => return Err(Error::new(item.ident.span(), "a union has no JSON form")),
    };
    let mut checks = Vec::new();
    for field in fields {
        if !given(&field.attrs, "state")?.ordered {
            let kind = &field.ty;
            checks.push(quote_spanned!(kind.span()=> ordered::<#kind>();));
        }
    }
    let form = given(&item.attrs, "state")?;
    let version = match &form.version {
        None => 1,
        Some(literal) => literal.base10_parse::<u32>()?,
    };
    let upcast = match &form.upcast {
        Some(function) => quote!(#function(version, old)),
        None => quote!(::core::result::Result::Err(::std::string::String::from("not read any more"))),
    };
    let name = item.ident.clone();
    for parameter in item.generics.type_params_mut() {
        parameter.bounds.push(syn::parse_quote!(::trellis_guest::actor::Ordered));
    }
    let (parameters, arguments, wheres) = item.generics.split_for_impl();
    Ok(quote! {
        impl #parameters ::trellis_guest::actor::Ordered for #name #arguments #wheres {}

        const _: () = {
            #[allow(dead_code, reason = "it is for the compiler to check")]
            fn fields #parameters () #wheres {
                #[allow(dead_code, reason = "a type may have no fields")]
                fn ordered<T: ::trellis_guest::actor::Ordered>() {}
                #(#checks)*
            }
        };

        impl #parameters ::trellis_guest::actor::Form for #name #arguments #wheres {
            const VERSION: u32 = #version;

            #[allow(unused_variables, reason = "not every state has older versions")]
            fn upcast(
                version: u32,
                old: ::trellis_guest::actor::Value,
            ) -> ::core::result::Result<::trellis_guest::actor::Value, ::std::string::String> {
                #upcast
            }
        }
    })
}
