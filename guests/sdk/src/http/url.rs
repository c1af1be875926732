//! As much of URLs as an actor needs: path and query of what came in, scheme and authority of what is to be
//! fetched. Decoding never fails: what is no valid escape stays as it was written.

/// Path and query: `/a?b=c` gives `/a` and `b=c`.
pub(super) fn split_query(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// The first value of `name` in `a=1&b=2`; a name without `=` has the empty value.
pub(super) fn query_value(query: &str, name: &str) -> Option<String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| form_decode(key) == name)
        .map(|(_, value)| form_decode(value))
}

fn form_decode(text: &str) -> String {
    percent_decode(&text.replace('+', " "))
}

/// `%41` becomes `A`; bytes that are no UTF-8 become U+FFFD.
pub(super) fn percent_decode(text: &str) -> String {
    let mut rest = text.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [high, low, tail @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                bytes.push(nibble(*high) << 4 | nibble(*low));
                rest = tail;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The value of a hexadecimal digit.
fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// A URL in the parts that `wasi:http` wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Url<'a> {
    /// Over TLS or not.
    pub secure: bool,
    /// Host with port, if one is given.
    pub authority: &'a str,
    /// Path with query, never empty.
    pub target: String,
}

/// Splits an absolute URL. A fragment stays on this side.
///
/// # Errors
/// A clause that says what is wrong with it.
pub(super) fn parse(url: &str) -> Result<Url<'_>, &'static str> {
    let (secure, rest) = match url.split_once("://") {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
        _ => return Err("must start with http:// or https://"),
    };
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.is_empty() {
        return Err("has no host");
    }
    if authority.contains('@') {
        return Err("must not contain a user or password");
    }
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    Ok(Url { secure, authority, target })
}
