//! What a source file says, without its comments: paths, strings and functions, with lines.
//!
//! It works on tokens, not on text, so that neither a comment nor a string is taken for code; and
//! not on a syntax tree, so that what macros are given is seen as well. Attributes are left out
//! (documentation is one), and everything is marked that is under `#[cfg(test)]`.

use std::str::FromStr;

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// Something named or written at a line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub line: usize,
    /// A path `a::b::c` (a method call is `.name`), or the inside of a string literal.
    pub text: String,
    pub in_test: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    /// From its `fn` to its closing brace.
    pub lines: usize,
}

/// Everything found in one file.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Scan {
    pub paths: Vec<Item>,
    pub strings: Vec<Item>,
    pub functions: Vec<Function>,
}

impl Scan {
    /// Scans the text of a file.
    ///
    /// # Errors
    /// It is not Rust: a bracket or a string does not end.
    pub fn of(text: &str) -> Result<Self> {
        let tokens = TokenStream::from_str(text).map_err(|error| {
            let at = error.span().start();
            anyhow!("line {}: {error}", at.line)
        })?;
        let mut scan = Self::default();
        scan.walk(tokens, "", false);
        Ok(scan)
    }

    /// `prefix` is what precedes each path here: the `std::` of `use std::{env, fs}`.
    fn walk(&mut self, tokens: TokenStream, prefix: &str, mut in_test: bool) {
        let mut cursor = Cursor::new(tokens);
        // Set by `#[cfg(test)]`, for the one item that follows.
        let mut test_item = false;
        while let Some(token) = cursor.next() {
            match token {
                TokenTree::Punct(hash) if hash.as_char() == '#' => match cursor.attribute() {
                    Some((true, true)) => in_test = true,
                    Some((false, true)) => test_item = true,
                    _ => {}
                },
                TokenTree::Punct(dot) if dot.as_char() == '.' => {
                    self.method(&mut cursor, in_test || test_item)
                }
                TokenTree::Punct(end) if end.as_char() == ';' => test_item = false,
                TokenTree::Punct(_) => {}
                TokenTree::Literal(literal) => {
                    self.string(&literal, in_test || test_item);
                }
                TokenTree::Ident(ident) if ident == "fn" => self.function(&cursor),
                TokenTree::Ident(ident) => {
                    self.path(&ident, prefix, &mut cursor, in_test || test_item);
                }
                TokenTree::Group(group) => {
                    let brace = group.delimiter() == Delimiter::Brace;
                    self.walk(group.stream(), "", in_test || test_item);
                    test_item &= !brace;
                }
            }
        }
    }

    /// `.name`, the called method; a number or a `..` after the dot is none.
    fn method(&mut self, cursor: &mut Cursor, in_test: bool) {
        if let Some(TokenTree::Ident(name)) = cursor.peek(0) {
            let (line, text) = (name.span().start().line, format!(".{name}"));
            self.paths.push(Item { line, text, in_test });
            cursor.next();
        }
    }

    fn string(&mut self, literal: &proc_macro2::Literal, in_test: bool) {
        let text = literal.to_string();
        // From the first quote to the last: also of raw, byte and C strings.
        if let (Some(start), Some(end)) = (text.find('"'), text.rfind('"'))
            && let Some(inside) = text.get(start + 1..end)
        {
            self.strings.push(Item { line: literal.span().start().line, text: inside.to_owned(), in_test });
        }
    }

    /// The function whose `fn` was just read, if it has a name and a body.
    fn function(&mut self, cursor: &Cursor) {
        let Some(TokenTree::Ident(name)) = cursor.peek(0) else {
            return;
        };
        let line = name.span().start().line;
        let body = cursor.rest().find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group)),
            TokenTree::Punct(end) if end.as_char() == ';' => Some(None),
            _ => None,
        });
        if let Some(Some(body)) = body {
            self.functions.push(Function {
                name: name.to_string(),
                line,
                lines: body.span_close().end().line + 1 - line,
            });
        }
    }

    /// A path that starts with `first`: all its segments, and the branches of a `use` tree.
    fn path(&mut self, first: &proc_macro2::Ident, prefix: &str, cursor: &mut Cursor, in_test: bool) {
        let mut text = format!("{prefix}{first}");
        let line = first.span().start().line;
        while cursor.at_path_separator() {
            match cursor.peek(2) {
                Some(TokenTree::Ident(next)) => {
                    text = format!("{text}::{next}");
                    cursor.skip(3);
                }
                Some(TokenTree::Group(tree)) if tree.delimiter() == Delimiter::Brace => {
                    let tree = tree.stream();
                    cursor.skip(3);
                    self.use_tree(tree, &format!("{text}::"), in_test);
                    return;
                }
                // `::<…>` or `::*`: the rest is walked as ordinary tokens.
                _ => break,
            }
        }
        self.paths.push(Item { line, text, in_test });
    }

    /// The branches of `a::{b, c::{d, e}}`, each with the whole path before it.
    fn use_tree(&mut self, tokens: TokenStream, prefix: &str, in_test: bool) {
        let mut cursor = Cursor::new(tokens);
        let mut renamed = false;
        while let Some(token) = cursor.next() {
            match token {
                // The name after `as` is new here, not part of what is used.
                TokenTree::Ident(ident) if ident == "as" => renamed = true,
                TokenTree::Ident(_) if renamed => renamed = false,
                TokenTree::Ident(ident) => self.path(&ident, prefix, &mut cursor, in_test),
                _ => {}
            }
        }
    }
}

/// Tokens with a position.
struct Cursor {
    tokens: Vec<TokenTree>,
    position: usize,
}

impl Cursor {
    fn new(tokens: TokenStream) -> Self {
        Self { tokens: tokens.into_iter().collect(), position: 0 }
    }

    fn next(&mut self) -> Option<TokenTree> {
        let token = self.tokens.get(self.position).cloned();
        self.position += 1;
        token
    }

    fn peek(&self, ahead: usize) -> Option<&TokenTree> {
        self.tokens.get(self.position + ahead)
    }

    fn skip(&mut self, count: usize) {
        self.position += count;
    }

    fn rest(&self) -> impl Iterator<Item = &TokenTree> {
        self.tokens.iter().skip(self.position)
    }

    /// After `#`: skips the attribute, and says (is it an inner one, is it `cfg(test)`).
    fn attribute(&mut self) -> Option<(bool, bool)> {
        let inner = matches!(self.peek(0), Some(TokenTree::Punct(bang)) if bang.as_char() == '!');
        let group = match self.peek(usize::from(inner)) {
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Bracket => group,
            _ => return None,
        };
        let is_test = is_cfg_test(group);
        self.skip(usize::from(inner) + 1);
        Some((inner, is_test))
    }

    fn at_path_separator(&self) -> bool {
        let colon = |ahead| match self.peek(ahead) {
            Some(TokenTree::Punct(colon)) if colon.as_char() == ':' => Some(colon.spacing()),
            _ => None,
        };
        colon(0) == Some(Spacing::Joint) && colon(1).is_some()
    }
}

fn is_cfg_test(attribute: &Group) -> bool {
    let text = attribute.stream().to_string().replace(' ', "");
    text == "cfg(test)" || text.starts_with("cfg(all(test,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let scan = Scan::of(text).unwrap();
        scan.paths.into_iter().map(|item| item.text).collect()
    }

    #[test]
    fn use_trees_are_spelled_out() {
        assert_eq!(
            paths("use std::{env, fs::{self, File as Handle}, time::Instant};"),
            ["use", "std::env", "std::fs::self", "std::fs::File", "std::time::Instant"]
        );
    }

    #[test]
    fn comments_strings_and_documentation_are_not_code() {
        let scan = Scan::of(
            "//! std::env\n/// std::fs \"trellis.a\"\n/* std::net */ fn f() { g(\"std::env::var\"); }",
        )
        .unwrap();
        assert!(scan.paths.iter().all(|item| !item.text.contains("std")));
        assert_eq!(scan.strings.len(), 1);
    }

    #[test]
    fn macros_turbofish_and_methods_are_seen() {
        let found = paths("fn f() { x!(std::env::var(\"A\")); y::<Instant>(Instant::now().elapsed()); }");
        for wanted in ["std::env::var", "Instant", "Instant::now", ".elapsed"] {
            assert!(found.iter().any(|path| path == wanted), "{wanted}: {found:?}");
        }
    }

    #[test]
    fn test_items_are_marked_and_only_they() {
        let scan = Scan::of(
            "fn a() { p::a(); }\n#[cfg(test)]\n#[derive(X)]\nmod tests { fn b() { p::b(); } }\n\
             #[cfg(test)]\nuse p::c;\nfn d() { p::d(); }",
        )
        .unwrap();
        let marked: Vec<(&str, bool)> = scan
            .paths
            .iter()
            .filter(|item| item.text.starts_with("p::"))
            .map(|item| (item.text.as_str(), item.in_test))
            .collect();
        assert_eq!(marked, [("p::a", false), ("p::b", true), ("p::c", true), ("p::d", false)]);
        let whole = Scan::of("#![cfg(test)]\nfn f() { p::a(); }").unwrap();
        assert!(whole.paths.iter().all(|item| item.in_test));
    }

    #[test]
    fn raw_and_byte_strings_lose_their_wrapping() {
        let scan = Scan::of(r##"fn f() { g(r#"a"b"#, b"c", 'd', 1.5); }"##).unwrap();
        let texts: Vec<&str> = scan.strings.iter().map(|item| item.text.as_str()).collect();
        assert_eq!(texts, ["a\"b", "c"]);
    }

    #[test]
    fn functions_have_their_length_and_declarations_have_none() {
        let scan = Scan::of("trait T { fn a(&self); }\nfn b()\nwhere\n{\n    c();\n}\nfn c() {}").unwrap();
        let found: Vec<(&str, usize, usize)> = scan
            .functions
            .iter()
            .map(|function| (function.name.as_str(), function.line, function.lines))
            .collect();
        assert_eq!(found, [("b", 2, 5), ("c", 7, 1)]);
    }
}
