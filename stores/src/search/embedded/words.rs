//! The words of a query, and which words of documents they match how well.
//!
//! The index is searched and highlights are drawn by the same rule, [`Word::quality`]; it must stay the only one.

use super::analysis::{is_unspaced, of_queries};
use levenshtein_automata::{DFA, Distance, LevenshteinAutomatonBuilder, SINK_STATE};
use std::{collections::BTreeSet, sync::LazyLock};
use tantivy::{postings::TermInfo, termdict::TermDictionary, tokenizer::TokenStream};
use tantivy_fst::Automaton;

/// How much a match counts. A typo in a title (the title's weight is 3) must stay below a word or its beginning met as
/// it is in the text, where the share of frequency and length is at least 0.8: see `query::weight`.
mod quality {
    pub const EXACT: f64 = 1.0;
    pub const ONE_TYPO: f64 = 0.1;
    pub const TWO_TYPOS: f64 = 0.05;

    /// Between 0.4 and 0.7: the more of the word was given, the better.
    pub fn prefix(given: usize, whole: usize) -> f64 {
        0.4 + 0.3 * given as f64 / whole as f64
    }
}

/// Letters from which on a word may have one typo, and two.
const ONE_TYPO_FROM: usize = 4;
const TWO_TYPOS_FROM: usize = 8;

/// Letters up to which a word may have typos. An automaton takes up to 68 KB a letter.
const TYPOS_UP_TO: usize = 32;

/// So many words of a query may have typos; the others must be met as they are. Bounds the automata of a query of
/// 1,024 bytes.
const WORDS_WITH_TYPOS: usize = 16;

/// Transpositions count as one typo. Making these takes milliseconds, hence once.
static ONE_TYPO: LazyLock<LevenshteinAutomatonBuilder> = LazyLock::new(|| LevenshteinAutomatonBuilder::new(1, true));
static TWO_TYPOS: LazyLock<LevenshteinAutomatonBuilder> = LazyLock::new(|| LevenshteinAutomatonBuilder::new(2, true));

/// One word that must match.
pub struct Word {
    text: String,
    /// Whether words that begin with it match too.
    prefix: bool,
    typos: Option<DFA>,
}

impl Word {
    fn new(text: String, last: bool, may_have_typos: bool) -> Self {
        let letters = text.chars().count();
        let builder = match letters {
            _ if !may_have_typos || letters > TYPOS_UP_TO => None,
            TWO_TYPOS_FROM.. => Some(&*TWO_TYPOS),
            ONE_TYPO_FROM.. => Some(&*ONE_TYPO),
            _ => None,
        };
        let typos =
            builder.map(|builder| if last { builder.build_prefix_dfa(&text) } else { builder.build_dfa(&text) });
        // A single character of an unspaced script stands at the start of a pair, or alone at the end of a run.
        let prefix = last || (letters == 1 && is_unspaced(&text));
        Self { text, prefix, typos }
    }

    /// How well it matches a word of a document, if at all.
    pub fn quality(&self, word: &[u8]) -> Option<f64> {
        if word == self.text.as_bytes() {
            return Some(quality::EXACT);
        }
        if self.prefix && word.starts_with(self.text.as_bytes()) {
            return Some(quality::prefix(self.text.len(), word.len()));
        }
        match self.typos.as_ref()?.eval(word) {
            Distance::Exact(0 | 1) => Some(quality::ONE_TYPO),
            Distance::Exact(_) => Some(quality::TWO_TYPOS),
            Distance::AtLeast(_) => None,
        }
    }

    /// Calls `found` with every word of the dictionary that matches.
    pub fn expand(
        &self,
        terms: &TermDictionary,
        mut found: impl FnMut(f64, &TermInfo) -> tantivy::Result<()>,
    ) -> tantivy::Result<()> {
        if let Some(dfa) = &self.typos {
            let mut stream = terms.search(Typos(dfa)).into_stream()?;
            while stream.advance() {
                if let Some(quality) = self.quality(stream.key()) {
                    found(quality, stream.value())?;
                }
            }
        } else if self.prefix {
            let mut stream = terms.range().ge(&self.text).into_stream()?;
            while stream.advance() {
                match self.quality(stream.key()) {
                    Some(quality) => found(quality, stream.value())?,
                    None => break,
                }
            }
        } else if let Some(term) = terms.get(&self.text)? {
            found(quality::EXACT, &term)?;
        }
        Ok(())
    }
}

/// The words of a query: all of them must match.
pub enum Words {
    /// Nothing is looked for: everything matches.
    Everything,
    /// These must match. Without any (a query of punctuation alone) nothing does.
    All(Vec<Word>),
}

impl Words {
    /// Cuts a query. There is no syntax: every character is text.
    pub fn of(query: &str) -> Self {
        if query.trim().is_empty() {
            return Words::Everything;
        }
        let mut texts = Vec::new();
        of_queries().token_stream(query).process(&mut |token| texts.push(token.text.clone()));
        let last = texts.len().saturating_sub(1);
        let mut seen = BTreeSet::new();
        // A word that comes again asks for nothing new, also when it is the last: the earlier one asks for more.
        let words = texts.into_iter().enumerate().filter(|(_, text)| seen.insert(text.clone()));
        let words = words.enumerate();
        Words::All(words.map(|(nth, (at, text))| Word::new(text, at == last, nth < WORDS_WITH_TYPOS)).collect())
    }

    /// Whether any of the words matches a word of a document.
    pub fn touch(&self, word: &str) -> bool {
        match self {
            Words::Everything => false,
            Words::All(words) => words.iter().any(|asked| asked.quality(word.as_bytes()).is_some()),
        }
    }
}

/// Lets the dictionary skip what the automaton can no longer match.
struct Typos<'a>(&'a DFA);

impl Automaton for Typos<'_> {
    type State = u32;

    fn start(&self) -> u32 {
        self.0.initial_state()
    }

    fn is_match(&self, state: &u32) -> bool {
        matches!(self.0.distance(*state), Distance::Exact(_))
    }

    fn can_match(&self, state: &u32) -> bool {
        *state != SINK_STATE
    }

    fn accept(&self, state: &u32, byte: u8) -> u32 {
        self.0.transition(*state, byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quality_of(query: &str, word: &str) -> Option<f64> {
        match Words::of(query) {
            Words::All(words) => words.first().unwrap().quality(word.as_bytes()),
            Words::Everything => None,
        }
    }

    #[test]
    fn typos_are_allowed_by_length() {
        assert_eq!(quality_of("cat .", "car"), None, "three letters must be right");
        assert_eq!(quality_of("lamp x", "lamp"), Some(quality::EXACT));
        assert_eq!(quality_of("lamp x", "lmap"), Some(quality::ONE_TYPO), "swapped letters are one typo");
        assert_eq!(quality_of("lamp x", "limb"), None);
        assert_eq!(quality_of("mountain x", "montaim"), Some(quality::TWO_TYPOS));
        assert_eq!(quality_of("mountain x", "montai"), Some(quality::TWO_TYPOS));
        assert_eq!(quality_of("mountain x", "monta"), None);
    }

    #[test]
    fn only_the_last_word_is_a_prefix() {
        assert_eq!(quality_of("mou", "mountain"), Some(quality::prefix(3, 8)));
        assert_eq!(quality_of("mou x", "mountain"), None);
        assert_eq!(quality_of("muont", "mountain"), Some(quality::ONE_TYPO));
        assert_eq!(quality_of("猫 x", "猫舌"), Some(quality::prefix(3, 6)));
    }

    #[test]
    fn a_query_without_words_is_not_an_empty_query() {
        assert!(matches!(Words::of(" \t\n\u{3000}"), Words::Everything));
        assert!(matches!(Words::of("+-&&"), Words::All(words) if words.is_empty()));
    }

    #[test]
    fn words_of_the_longest_query_are_bounded() {
        let query: String = (0..200).map(|n| format!("w{n:03} ")).collect();
        let Words::All(words) = Words::of(&query) else { unreachable!("the query has words") };
        assert_eq!(words.len(), 200);
        assert_eq!(words.iter().filter(|word| word.typos.is_some()).count(), WORDS_WITH_TYPOS);
    }
}
