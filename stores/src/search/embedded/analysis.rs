//! How text becomes words: the one analysis of documents, queries and highlights.
//!
//! Nothing here knows of an index or a score. A change of these rules changes what a stored index means: raise the
//! number in [`ANALYZER`] with it, so that an index made by older rules is refused and rebuilt.

use std::{iter::Peekable, str::CharIndices};
use tantivy::tokenizer::{AsciiFoldingFilter, LowerCaser, TextAnalyzer, Token, TokenStream, Tokenizer};

/// The name under which the analysis is written into an index's schema.
pub const ANALYZER: &str = "chimera_words_1";

/// A word is told apart by this many characters; what follows is not looked at. Far below the engine's own limit of
/// 65,530 bytes, beyond which it would drop the word silently.
pub const LONGEST_WORD: usize = 64;

/// What documents and highlights are cut with.
pub fn of_documents() -> TextAnalyzer {
    analyzer(Words { closes_runs: true, token: Token::default() })
}

/// What queries are cut with: the same, but a run of unspaced script asks for its pairs alone. The last character of
/// a run is a word of its own only in documents, so that a single character finds it there.
pub fn of_queries() -> TextAnalyzer {
    analyzer(Words { closes_runs: false, token: Token::default() })
}

/// Folding may give capitals (it knows small capitals, for example), hence lower case once more after it.
fn analyzer(words: Words) -> TextAnalyzer {
    TextAnalyzer::builder(words).filter(AsciiFoldingFilter).filter(LowerCaser).build()
}

/// Whether a word comes from a script that is written without spaces.
pub fn is_unspaced(word: &str) -> bool {
    word.chars().next().is_some_and(|first| class(first) == Class::Unspaced)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Part of a word.
    Letter,
    /// Belongs to the letter before it, and is left out.
    Mark,
    /// Written without spaces.
    Unspaced,
    /// A word by itself.
    Emoji,
    /// Between words.
    Break,
}

fn class(c: char) -> Class {
    match c {
        _ if c.is_ascii() => {
            if c.is_ascii_alphanumeric() {
                Class::Letter
            } else {
                Class::Break
            }
        }
        // Combining marks and variation selectors; vowel points of Hebrew and Arabic.
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' => {
            Class::Mark
        }
        '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{200c}' | '\u{200d}' => Class::Mark,
        '\u{591}'..='\u{5bd}' | '\u{64b}'..='\u{65f}' => Class::Mark,
        // Skin tones follow the emoji they colour.
        '\u{1f3fb}'..='\u{1f3ff}' => Class::Mark,
        // Thai, Lao, Burmese, Khmer with their marks, but not their digits and signs.
        '\u{e01}'..='\u{e3a}' | '\u{e40}'..='\u{e4e}' | '\u{e81}'..='\u{ece}' => Class::Unspaced,
        '\u{1000}'..='\u{103f}' | '\u{1780}'..='\u{17d3}' => Class::Unspaced,
        // Kana and ideographs.
        '\u{3005}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}' | '\u{30fc}'..='\u{30ff}' => Class::Unspaced,
        '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9d}' => Class::Unspaced,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' => Class::Unspaced,
        '\u{20000}'..='\u{3ffff}' => Class::Unspaced,
        '\u{2600}'..='\u{27bf}' | '\u{2b50}' | '\u{2b55}' | '\u{1f000}'..='\u{1faff}' => Class::Emoji,
        // Signs of the scripts of India that are no letters, such as the virama, but not the danda.
        '\u{964}' | '\u{965}' => Class::Break,
        '\u{900}'..='\u{dff}' if !c.is_alphanumeric() => Class::Mark,
        _ if c.is_alphanumeric() => Class::Letter,
        _ => Class::Break,
    }
}

#[derive(Clone)]
struct Words {
    closes_runs: bool,
    token: Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream {
            chars: text.char_indices().peekable(),
            closes_runs: self.closes_runs,
            in_run: false,
            token: &mut self.token,
        }
    }
}

struct WordStream<'a> {
    chars: Peekable<CharIndices<'a>>,
    closes_runs: bool,
    /// The character that comes next is already the second half of a pair.
    in_run: bool,
    token: &'a mut Token,
}

impl WordStream<'_> {
    fn begin(&mut self, at: usize, first: char) {
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = at;
        self.token.offset_to = at + first.len_utf8();
        self.token.text.clear();
    }

    /// The rest of a word that begins with `first`, its marks included.
    fn word(&mut self, at: usize, first: char) {
        self.begin(at, first);
        let mut length = 1;
        self.token.text.extend(lower(first));
        while let Some((at, c)) = self.chars.next_if(|(_, c)| matches!(class(*c), Class::Letter | Class::Mark)) {
            self.token.offset_to = at + c.len_utf8();
            if class(c) == Class::Letter && length < LONGEST_WORD {
                length += 1;
                self.token.text.extend(lower(c));
            }
        }
    }

    /// The pair that begins with `first`; false when there is none and the character is no word either.
    fn unspaced(&mut self, at: usize, first: char) -> bool {
        self.begin(at, first);
        self.token.text.push(first);
        let next = self.chars.peek().copied().filter(|(_, c)| class(*c) == Class::Unspaced);
        if let Some((at, second)) = next {
            self.token.text.push(second);
            self.token.offset_to = at + second.len_utf8();
        }
        let was_in_run = std::mem::replace(&mut self.in_run, next.is_some());
        next.is_some() || !was_in_run || self.closes_runs
    }
}

/// Lower case without the combining dot that the Turkish capital leaves behind.
fn lower(c: char) -> impl Iterator<Item = char> {
    c.to_lowercase().filter(|c| class(*c) != Class::Mark)
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        while let Some((at, c)) = self.chars.next() {
            match class(c) {
                Class::Break | Class::Mark => self.in_run = false,
                Class::Letter => {
                    self.in_run = false;
                    self.word(at, c);
                    return true;
                }
                Class::Emoji => {
                    self.in_run = false;
                    self.begin(at, c);
                    self.token.text.push(c);
                    return true;
                }
                Class::Unspaced => {
                    if self.unspaced(at, c) {
                        return true;
                    }
                }
            }
        }
        false
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(mut analyzer: TextAnalyzer, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        analyzer.token_stream(text).process(&mut |token| {
            assert!(text.get(token.offset_from..token.offset_to).is_some(), "{text:?} {token:?}");
            words.push(token.text.clone());
        });
        words
    }

    #[test]
    fn words_are_folded_and_cut_alike_whatever_their_form() {
        for (text, words) in [
            ("Crème BRÛLÉE", vec!["creme", "brulee"]),
            ("cre\u{300}me", vec!["creme"]),
            ("Straße, Æther; İstanbul", vec!["strasse", "aether", "istanbul"]),
            ("ai_nova.x @you #tag", vec!["ai", "nova", "x", "you", "tag"]),
            ("title:foo AND (bar*~2)^3", vec!["title", "foo", "and", "bar", "2", "3"]),
            ("हिन्दी।", vec!["हिनदी"]),
            ("Привет, мир", vec!["привет", "мир"]),
            ("go 🚀👍🏽!", vec!["go", "🚀", "👍"]),
            ("", vec![]),
            ("-- '\" \u{301}", vec![]),
        ] {
            assert_eq!(cut(of_queries(), text), words, "{text}");
            assert_eq!(cut(of_documents(), text), words, "{text}");
        }
    }

    #[test]
    fn scripts_without_spaces_are_cut_into_pairs() {
        assert_eq!(cut(of_documents(), "東京都 猫"), ["東京", "京都", "都", "猫"]);
        assert_eq!(cut(of_queries(), "東京都 猫"), ["東京", "京都", "猫"]);
        assert_eq!(cut(of_queries(), "東京tower"), ["東京", "tower"]);
    }

    #[test]
    fn a_long_word_is_told_apart_by_its_beginning() {
        let long = "x".repeat(70_000);
        assert_eq!(cut(of_documents(), &long), ["x".repeat(LONGEST_WORD)]);
    }
}
