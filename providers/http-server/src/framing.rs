//! One reading only of every HTTP/1 request, decided before the parser sees it.
//!
//! hyper follows the specification's "be lenient" clauses: it ends lines at a bare LF, lets
//! `Transfer-Encoding` win over a `Content-Length` beside it and merges equal lengths, without
//! a trace left for us to refuse. Each of these is read otherwise by some proxy, which is how
//! requests are smuggled past it. So a [`Framing`] follows the same bytes with the strict rules
//! and names the first byte that breaks them.
//!
//! ```text
//! Head ──empty line──► Head | Body(n) | ChunkSize
//! Body(n) ──n bytes──► Head
//! ChunkSize ──n──► ChunkData(n) ──CRLF──► ChunkSize        ChunkSize ──0──► Trailer ──empty line──► Head
//! ```
//!
//! Pure: bytes in, position of the first violation out. Invariant: it agrees with the parser on
//! where each message ends, because everything on which they could differ is a violation.

/// A line longer than this is none that the parser would take; it answers 431 or 400 itself.
const MAX_LINE_BYTES: usize = 64 << 10;
/// A length of more digits would not fit 63 bits.
const MAX_LENGTH_DIGITS: usize = 18;
/// Hexadecimal digits of a chunk's size: 16^15 is far over any limit.
const MAX_CHUNK_DIGITS: usize = 15;

/// Where in a message the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    /// The parser gives up before this does; nothing is followed any more.
    Off,
}

/// What the head has said of its body so far.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    begun: bool,
    length: Option<u64>,
    chunked: bool,
}

/// Follows the bytes of one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    head: Head,
    /// A line of which the end has not come yet.
    line: Vec<u8>,
}

/// The strict rules were broken: the position in the bytes given, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// Index of the byte at which it was known.
    pub at: usize,
    /// What, for the log.
    pub what: &'static str,
}

impl Default for Framing {
    fn default() -> Self {
        Self { state: State::Head, head: Head::default(), line: Vec::new() }
    }
}

impl Framing {
    /// Follows these bytes.
    ///
    /// # Errors
    /// The first [`Violation`]; nothing may be fed after it.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Violation> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.state {
                State::Off => return Ok(()),
                State::Body(left) => at += self.skip(left, rest.len(), State::Body, State::Head),
                State::ChunkData(left) => {
                    at += self.skip(left, rest.len(), State::ChunkData, State::ChunkEnd);
                }
                State::Head | State::ChunkSize | State::ChunkEnd | State::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.keep(rest);
                        return Ok(());
                    };
                    let line = rest.get(..end).unwrap_or_default();
                    self.end_line(line).map_err(|what| Violation { at: at + end, what })?;
                    at += end + 1;
                }
            }
        }
        Ok(())
    }

    /// Passes over content; gives how many bytes.
    fn skip(&mut self, left: u64, available: usize, stay: fn(u64) -> State, done: State) -> usize {
        let taken = left.min(available as u64);
        self.state = if taken == left { done } else { stay(left - taken) };
        // No more than `available`, so it fits.
        usize::try_from(taken).unwrap_or(available)
    }

    /// Keeps the beginning of a line.
    fn keep(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > MAX_LINE_BYTES {
            self.state = State::Off;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(part);
        }
    }

    /// A line is complete up to its LF.
    fn end_line(&mut self, tail: &[u8]) -> Result<(), &'static str> {
        if self.line.is_empty() {
            return self.line(tail);
        }
        let mut whole = std::mem::take(&mut self.line);
        whole.extend_from_slice(tail);
        let result = self.line(&whole);
        whole.clear();
        self.line = whole;
        result
    }

    fn line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let line = line.strip_suffix(b"\r").ok_or("line ends without CR")?;
        match self.state {
            State::Head => self.head_line(line),
            State::ChunkSize => self.chunk_size(line),
            State::ChunkEnd if line.is_empty() => {
                self.state = State::ChunkSize;
                Ok(())
            }
            State::ChunkEnd => Err("chunk longer than its size"),
            State::Trailer => {
                if line.is_empty() {
                    self.state = State::Head;
                }
                Ok(())
            }
            State::Body(_) | State::ChunkData(_) | State::Off => Ok(()),
        }
    }

    fn head_line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        if line.is_empty() {
            // Empty lines before a request line are no head (RFC 9112 §2.2).
            let head = std::mem::take(&mut self.head);
            self.state = match (head.chunked, head.length) {
                (true, Some(_)) => return Err("both Content-Length and Transfer-Encoding"),
                (true, None) => State::ChunkSize,
                (false, Some(length)) if length > 0 => State::Body(length),
                (false, _) => State::Head,
            };
            return Ok(());
        }
        if !self.head.begun {
            self.head.begun = true;
            return Ok(());
        }
        match line.first().map(u8::to_ascii_lowercase) {
            Some(b'c') => self.content_length(line),
            Some(b't') => self.transfer_encoding(line),
            Some(b' ' | b'\t') => Err("folded header line"),
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let Some(value) = value_of(line, b"content-length") else { return Ok(()) };
        if self.head.length.is_some() {
            return Err("Content-Length given twice");
        }
        let length = decimal(value).ok_or("Content-Length is not a number")?;
        self.head.length = Some(length);
        Ok(())
    }

    fn transfer_encoding(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let Some(value) = value_of(line, b"transfer-encoding") else { return Ok(()) };
        if self.head.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err("Transfer-Encoding is not just chunked");
        }
        self.head.chunked = true;
        Ok(())
    }

    fn chunk_size(&mut self, line: &[u8]) -> Result<(), &'static str> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at_checked(digits).unwrap_or_default();
        if size.is_empty() || size.len() > MAX_CHUNK_DIGITS {
            return Err("chunk size is not a number");
        }
        let visible = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        if extension.first().is_some_and(|byte| *byte != b';') || !extension.iter().all(visible) {
            return Err("chunk size is followed by something else than an extension");
        }
        let size = std::str::from_utf8(size).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        self.state = match size {
            Some(0) => State::Trailer,
            Some(size) => State::ChunkData(size),
            None => return Err("chunk size is not a number"),
        };
        Ok(())
    }
}

/// The value of a header line if it has this name. White space before the colon is left to the
/// parser, which refuses it.
fn value_of<'line>(line: &'line [u8], name: &[u8]) -> Option<&'line [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":").filter(|_| found.eq_ignore_ascii_case(name))?;
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    value.get(start..end)
}

fn decimal(text: &[u8]) -> Option<u64> {
    let digits = (1..=MAX_LENGTH_DIGITS).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    digits.then(|| text.iter().fold(0, |number, byte| number * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<(), &'static str> {
        Framing::default().feed(bytes).map_err(|violation| violation.what)
    }

    /// Byte by byte must be the same as at once.
    fn trickled(bytes: &[u8]) -> Result<(), &'static str> {
        let mut framing = Framing::default();
        bytes.chunks(1).try_for_each(|byte| framing.feed(byte).map_err(|violation| violation.what))
    }

    #[test]
    fn ordinary_messages_pass_however_they_arrive() {
        let messages: &[&[u8]] = &[
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.1\r\ncontent-length: 5\r\n\r\n\n\n\n\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=b\r\n\n\n\n\r\n0\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 0\r\nContent-Type: text/plain\r\nTe: trailers\r\n\r\n",
        ];
        for message in messages {
            assert_eq!((whole(message), trickled(message)), (Ok(()), Ok(())), "{}", message.escape_ascii());
        }
    }

    #[test]
    fn what_can_be_read_twice_is_refused_in_any_position() {
        let heads: &[&[u8]] = &[
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 4, 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: +4\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 0x4\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
            b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding:\x0bchunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nX: a\r\n Content-Length: 4\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ];
        let first = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
        for head in heads {
            let second = [first, *head].concat();
            let shown = head.escape_ascii();
            assert!(whole(head).is_err(), "{shown}");
            assert_eq!(whole(head), trickled(head), "{shown}");
            assert!(whole(&second).is_err(), "second: {shown}");
        }
    }

    #[test]
    fn an_endless_line_takes_no_endless_memory() {
        let mut framing = Framing::default();
        for _ in 0..1_000 {
            framing.feed(&[b'a'; 1_000]).unwrap();
        }
        assert!(framing.line.capacity() <= 2 * MAX_LINE_BYTES);
    }
}
