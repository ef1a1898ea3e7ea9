//! Lines of a file in batches, with their numbers; a line that is not UTF-8 or too long costs itself alone.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt};

/// The longest line: more than any record needs, and small enough that a batch fits in memory.
pub const MAX_LINE_BYTES: usize = 1 << 20;

/// A batch ends early when it has covered this many bytes, so that memory stays bounded with long lines too.
const MAX_BATCH_BYTES: u64 = 8 << 20;

/// Some lines of a file.
#[derive(Debug, Default)]
pub struct Batch {
    /// Number (from 1) and text of each line that is not blank, or why it cannot be read.
    pub lines: Vec<(u64, Result<String, String>)>,
    /// Bytes of the file that the batch covers.
    pub bytes: u64,
}

/// Reads a file in batches.
pub struct Lines<R> {
    input: R,
    number: u64,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// From the beginning of `input`.
    pub fn new(input: R) -> Self {
        Self { input, number: 0 }
    }

    /// The next lines, at most `limit` that are not blank; `None` at the end.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub async fn next_batch(&mut self, limit: usize) -> io::Result<Option<Batch>> {
        let mut batch = Batch::default();
        while batch.lines.len() < limit && batch.bytes < MAX_BATCH_BYTES {
            let Some((text, bytes)) = self.next_line().await? else { break };
            batch.bytes += bytes;
            if !matches!(&text, Ok(text) if text.trim().is_empty()) {
                batch.lines.push((self.number, text));
            }
        }
        Ok((batch.bytes > 0).then_some(batch))
    }

    async fn next_line(&mut self) -> io::Result<Option<(Result<String, String>, u64)>> {
        let (mut line, mut bytes, mut too_long) = (Vec::new(), 0_u64, false);
        loop {
            let available = self.input.fill_buf().await?;
            if available.is_empty() {
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(available.len(), |end| end + 1);
            let part = available.get(..taken).unwrap_or_default();
            // What is beyond the limit is read and dropped, so that memory stays bounded.
            too_long |= line.len() + part.len() > MAX_LINE_BYTES + 1;
            if !too_long {
                line.extend_from_slice(part);
            }
            bytes += taken as u64;
            self.input.consume(taken);
            if end.is_some() {
                break;
            }
        }
        if bytes == 0 {
            return Ok(None);
        }
        self.number += 1;
        if too_long {
            return Ok(Some((Err(format!("the line is longer than {MAX_LINE_BYTES} bytes")), bytes)));
        }
        if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        // The end of the line is no part of it: a parser would complain about it instead of about what is missing.
        while line.pop_if(|byte| matches!(*byte, b'\r' | b'\n')).is_some() {}
        Ok(Some((String::from_utf8(line).map_err(|_| "the line is not UTF-8".to_owned()), bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::BufReader;

    #[tokio::test]
    async fn lines_keep_their_numbers_and_bad_ones_cost_themselves_alone() {
        let mut input = b"\xef\xbb\xbfone\n\n  \r\ntwo\xff\n".to_vec();
        input.extend(vec![b'x'; MAX_LINE_BYTES + 5]);
        input.extend_from_slice(b"\nlast \r");
        let mut lines = Lines::new(BufReader::with_capacity(7, input.as_slice()));
        let batch = lines.next_batch(10).await.unwrap().unwrap();
        assert_eq!(batch.bytes, input.len() as u64);
        let seen: Vec<_> =
            batch.lines.iter().map(|(number, text)| (*number, text.as_deref().unwrap_or("bad"))).collect();
        assert_eq!(seen, [(1, "one"), (4, "bad"), (5, "bad"), (6, "last ")]);
        assert!(lines.next_batch(10).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_batch_ends_at_its_limit() {
        let mut lines = Lines::new(BufReader::new(b"a\nb\nc\n".as_slice()));
        assert_eq!(lines.next_batch(2).await.unwrap().unwrap().lines.len(), 2);
        assert_eq!(lines.next_batch(2).await.unwrap().unwrap().lines.len(), 1);
        assert!(lines.next_batch(2).await.unwrap().is_none());
    }
}
