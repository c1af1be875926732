//! Attributes that make a component a persistent actor.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, FnArg, ImplItem, ItemFn, ItemImpl, Result, ReturnType, Type};

/// Is it to be exported? `export = false` says no.
fn exported(arguments: TokenStream) -> Result<bool> {
    let mut export = true;
    let parser = syn::meta::parser(|meta| {
        if !meta.path.is_ident("export") {
            return Err(meta.error("unknown here; known is export = false"));
        }
        export = meta.value()?.parse::<syn::LitBool>()?.value;
        Ok(())
    });
    syn::parse::Parser::parse2(parser, arguments)?;
    Ok(export)
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let export = exported(arguments)?;
    let mut item: ItemImpl = syn::parse2(item)?;
    if item.trait_.is_none() {
        return Err(Error::new_spanned(&item.self_ty, "this attribute belongs on `impl Actor for …`"));
    }
    let has_type =
        |name: &str| item.items.iter().any(|each| matches!(each, ImplItem::Type(it) if it.ident == name));
    let has_fn =
        |name: &str| item.items.iter().any(|each| matches!(each, ImplItem::Fn(it) if it.sig.ident == name));
    let mut missing: Vec<ImplItem> = Vec::new();
    if !has_type("Reply") {
        missing.push(syn::parse_quote!(
            type Reply = ();
        ));
    }
    if !has_fn("new") {
        missing.push(syn::parse_quote!(
            fn new(_: &str) -> Self {
                ::core::default::Default::default()
            }
        ));
    }
    match (has_type("Query"), has_fn("query")) {
        (true, true) => {}
        (false, false) => {
            missing.push(syn::parse_quote!(
                type Query = ::trellis_guest::actor::NoQuery;
            ));
            missing.push(syn::parse_quote!(
                type Answer = ();
            ));
            missing.push(syn::parse_quote!(
                fn query(
                    &self,
                    query: Self::Query,
                ) -> ::core::result::Result<(), ::trellis_guest::actor::Refusal> {
                    match query {}
                }
            ));
        }
        _ => {
            return Err(Error::new_spanned(
                &item.self_ty,
                "queries want all of `Query`, `Answer` and `query`",
            ));
        }
    }
    item.items.append(&mut missing);
    let actor = &item.self_ty;
    let export = export.then(|| quote!(::trellis_guest::export_actor!(#actor);));
    Ok(quote!(#item #export))
}

/// The error type's sibling: `T` of `Result<T, …>`.
fn ok_type(output: &ReturnType) -> Option<&Type> {
    let ReturnType::Type(_, output) = output else { return None };
    let Type::Path(path) = &**output else { return None };
    let last = path.path.segments.last()?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        syn::GenericArgument::Type(ok) if last.ident == "Result" => Some(ok),
        _ => None,
    }
}

pub(crate) fn expand_keys(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let export = exported(arguments)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = "this attribute belongs on `fn(&mut Keys, &Turn, Command) -> Result<T, Refusal>`";
    let wrong = || Error::new_spanned(&function.sig, signature);
    let Some(FnArg::Typed(command)) = function.sig.inputs.iter().nth(2) else { return Err(wrong()) };
    if function.sig.inputs.len() != 3 {
        return Err(wrong());
    }
    let (command, reply) = (&command.ty, ok_type(&function.sig.output).ok_or_else(wrong)?);
    let name = &function.sig.ident;
    let actor = format_ident!("{}Actor", pascal_case(&name.to_string()));
    let visibility = &function.vis;
    let export =
        export.then(|| quote!(::trellis_guest::export_actor!(::trellis_guest::actor::keys::KeysOf<#actor>);));
    Ok(quote! {
        #function

        /// The actor that the function above is the behaviour of.
        #[derive(Debug, Clone, Copy, PartialEq)]
        #visibility struct #actor;

        impl ::trellis_guest::actor::keys::KvActor for #actor {
            type Command = #command;
            type Reply = #reply;

            fn handle(
                keys: &mut ::trellis_guest::actor::keys::Keys,
                turn: &::trellis_guest::actor::Turn,
                command: #command,
            ) -> ::core::result::Result<#reply, ::trellis_guest::actor::Refusal> {
                #name(keys, turn, command)
            }
        }

        #export
    })
}

fn pascal_case(snake: &str) -> String {
    let mut pascal = String::new();
    for word in snake.split('_') {
        let mut letters = word.chars();
        pascal.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        pascal.push_str(letters.as_str());
    }
    pascal
}
