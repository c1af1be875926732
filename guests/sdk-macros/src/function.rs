//! Attributes on a function: it stays, and a macro call with its name follows. No parser is needed for that.

use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

/// `item` followed by `::trellis_guest::<export>!(<name of the function>);`
pub(crate) fn attach(export: &str, arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        return complain("this attribute takes no arguments");
    }
    let Some(name) = function_name(&item) else {
        return complain("this attribute belongs on a function");
    };
    let mut tokens: Vec<TokenTree> = item.into_iter().collect();
    tokens.extend(call(&["trellis_guest", export], TokenStream::from(TokenTree::Ident(name))));
    tokens.into_iter().collect()
}

/// The identifier after the first `fn` outside of any brackets.
fn function_name(item: &TokenStream) -> Option<Ident> {
    let mut tokens = item.clone().into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn"))?;
    match tokens.next() {
        Some(TokenTree::Ident(name)) => Some(name),
        _ => None,
    }
}

/// `::a::b! { body }`
fn call(path: &[&str], body: TokenStream) -> Vec<TokenTree> {
    let mut tokens = Vec::new();
    for segment in path {
        tokens.push(TokenTree::Punct(Punct::new(':', Spacing::Joint)));
        tokens.push(TokenTree::Punct(Punct::new(':', Spacing::Alone)));
        tokens.push(TokenTree::Ident(Ident::new(segment, Span::call_site())));
    }
    tokens.push(TokenTree::Punct(Punct::new('!', Spacing::Alone)));
    tokens.push(TokenTree::Group(Group::new(Delimiter::Brace, body)));
    tokens
}

/// A compile error that says `message` where the attribute stands.
fn complain(message: &str) -> TokenStream {
    let text = TokenStream::from(TokenTree::Literal(proc_macro::Literal::string(message)));
    call(&["core", "compile_error"], text).into_iter().collect()
}
