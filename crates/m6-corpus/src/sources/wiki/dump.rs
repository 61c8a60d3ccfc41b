//! Cuts a dump into its `<page>` elements, so that a damaged page costs only itself.

use std::io::ErrorKind;

use memchr::memmem;

use super::super::input::Input;

const OPEN: &[u8] = b"<page>";
const CLOSE: &[u8] = b"</page>";
/// How much of the head before the first page is looked at for the address of the wiki, in bytes.
const MAX_HEAD: usize = 1 << 16;

/// A page's bytes with its tags and its offset, or what is wrong there.
type Piece = (u64, Result<Vec<u8>, String>);

/// The pages of a dump, in order.
///
/// Text in a dump is escaped, so the tags of pages stand only where pages begin and end; a second `<page>` before
/// `</page>` means that the first was cut off.
pub(super) struct Pages {
    input: Input,
    limit: usize,
    /// Bytes read and not yet used; `offset` is where they begin in the input.
    buffer: Vec<u8>,
    offset: u64,
    base: Option<String>,
    has_head: bool,
    has_ended: bool,
}

impl Pages {
    /// Pages beyond `limit` bytes are passed over with a reason.
    pub(super) fn new(input: Input, limit: usize) -> Self {
        Self {
            input,
            limit,
            buffer: Vec::new(),
            offset: 0,
            base: None,
            has_head: false,
            has_ended: false,
        }
    }

    /// The pages of the same dump from `offset` on, where `input` begins; what the head says is kept.
    pub(super) fn moved(mut self, input: Input, offset: u64) -> Self {
        // A head that cannot be read is met again, and told of, by the search for a page.
        let _ = self.seek_page();
        Self {
            offset,
            base: self.base,
            has_head: true,
            ..Self::new(input, self.limit)
        }
    }

    /// The address of the wiki's main page, known once the first page was read.
    pub(super) fn base(&self) -> Option<&str> {
        self.base.as_deref()
    }

    /// The next page.
    pub(super) fn next(&mut self) -> Option<Piece> {
        if let Err(piece) = self.seek_page()? {
            return Some(piece);
        }
        let begin = self.offset;
        let mut searched = OPEN.len();
        loop {
            let rest = self.buffer.get(searched..).unwrap_or_default();
            let close = memmem::find(rest, CLOSE).map(|at| searched + at);
            let again = memmem::find(rest, OPEN).map(|at| searched + at);
            match (close, again) {
                (Some(close), again) if again.is_none_or(|again| close < again) => {
                    let end = close + CLOSE.len();
                    let page = self.buffer.get(..end).unwrap_or_default().to_vec();
                    self.drop_front(end);
                    return Some((begin, self.checked(page)));
                }
                (_, Some(again)) => {
                    self.drop_front(again);
                    return Some((
                        begin,
                        Err("the page is cut off: another one begins inside it".to_string()),
                    ));
                }
                _ => {}
            }
            searched = self
                .buffer
                .len()
                .saturating_sub(CLOSE.len() - 1)
                .max(OPEN.len());
            if self.buffer.len() > self.limit + CLOSE.len() {
                // What follows up to the next page belongs to this one, and is passed by the next search.
                self.drop_front(OPEN.len());
                let reason = format!("a page of more than {} bytes", self.limit);
                return Some((begin, Err(reason)));
            }
            if let Err(reason) = self.fill() {
                return Some((begin, Err(reason)));
            }
            if self.has_ended {
                self.buffer.clear();
                return Some((begin, Err("the dump ends inside this page".to_string())));
            }
        }
    }

    /// Moves to the next `<page>`: none at the end of the dump, an error when the input fails.
    fn seek_page(&mut self) -> Option<Result<(), Piece>> {
        loop {
            let found = memmem::find(&self.buffer, OPEN);
            let kept = self.buffer.len().saturating_sub(OPEN.len() - 1);
            if !self.has_head && (found.is_some() || self.buffer.len() > MAX_HEAD || self.has_ended)
            {
                let head = self
                    .buffer
                    .get(..found.unwrap_or(kept).min(MAX_HEAD))
                    .unwrap_or_default();
                self.base = base(head);
                self.has_head = true;
            }
            if let Some(at) = found {
                self.drop_front(at);
                return Some(Ok(()));
            }
            if self.has_ended {
                return None;
            }
            if self.has_head {
                self.drop_front(kept);
            }
            let at = self.offset + self.buffer.len() as u64;
            if let Err(reason) = self.fill() {
                return Some(Err((at, Err(reason))));
            }
        }
    }

    fn checked(&self, page: Vec<u8>) -> Result<Vec<u8>, String> {
        match page.len() <= self.limit {
            true => Ok(page),
            false => Err(format!(
                "a page of {} bytes, the limit is {}",
                page.len(),
                self.limit
            )),
        }
    }

    fn drop_front(&mut self, n_bytes: usize) {
        let n_bytes = n_bytes.min(self.buffer.len());
        self.buffer.drain(..n_bytes);
        self.offset += n_bytes as u64;
    }

    /// Reads on; at the end, or after a failure, there is nothing more to read.
    fn fill(&mut self) -> Result<(), String> {
        loop {
            match self.input.fill_buf() {
                Ok(chunk) => {
                    let n_bytes = chunk.len();
                    self.buffer.extend_from_slice(chunk);
                    self.input.consume(n_bytes);
                    self.has_ended |= n_bytes == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.has_ended = true;
                    self.buffer.clear();
                    return Err(format!("the dump cannot be read further: {error}"));
                }
            }
        }
    }
}

/// The content of `<base>`.
fn base(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let (_, rest) = text.split_once("<base>")?;
    let (base, _) = rest.split_once("</base>")?;
    Some(base.trim().replace("&amp;", "&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, limit: usize, base: Option<&str>, expected: &[Result<&str, &str>]) {
        // Three sizes of buffer, so that tags cross its ends.
        for size in [1, 5, 4096] {
            let bytes = std::io::Cursor::new(input.as_bytes().to_vec());
            let mut pages = Pages::new(
                Box::new(std::io::BufReader::with_capacity(size, bytes)),
                limit,
            );
            let mut got = Vec::new();
            while let Some((offset, page)) = pages.next() {
                assert!(input[offset as usize..].starts_with("<page>"));
                got.push(page.map(|page| String::from_utf8(page).unwrap()));
            }
            assert_eq!(pages.base(), base);
            let expected: Vec<Result<String, String>> = expected
                .iter()
                .map(|e| e.map(str::to_string).map_err(str::to_string))
                .collect();
            assert_eq!(got, expected, "buffer of {size}: {input}");
        }
    }

    #[test]
    fn pages_are_cut_out_and_damage_costs_one() {
        check("", 99, None, &[]);
        check("<mediawiki>", 99, None, &[]);
        check(
            "<x><base>https://a/wiki/Main</base></x> <page>1</page>\n<page>2</page></m>",
            99,
            Some("https://a/wiki/Main"),
            &[Ok("<page>1</page>"), Ok("<page>2</page>")],
        );
        let cut = "the page is cut off: another one begins inside it";
        check(
            "<page>1<page>2</page>",
            99,
            None,
            &[Err(cut), Ok("<page>2</page>")],
        );
        let end = "the dump ends inside this page";
        check(
            "<page>1</page><page>2</pa",
            99,
            None,
            &[Ok("<page>1</page>"), Err(end)],
        );
    }

    #[test]
    fn a_page_beyond_the_limit_is_passed() {
        let long = format!("<page>{}</page><page>2</page>", "x".repeat(10_000));
        for size in [7, 4096, 1 << 16] {
            let bytes = std::io::Cursor::new(long.clone().into_bytes());
            let mut pages = Pages::new(
                Box::new(std::io::BufReader::with_capacity(size, bytes)),
                100,
            );
            let (at, page) = pages.next().unwrap();
            assert!(at == 0 && page.is_err_and(|reason| reason.contains("100")));
            assert_eq!(pages.next().unwrap().1.unwrap(), b"<page>2</page>");
            assert!(pages.next().is_none());
        }
    }
}
