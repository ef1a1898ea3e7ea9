//! Where a hit matched: fragments of its stored text with the byte ranges of matched words.
//!
//! The text is cut into words again and each is put to the rule that searched the index, so that a word found by its
//! typo or its beginning is marked as well. Fragments are plain text; whoever shows them does the escaping.

use super::{analysis, words::Words};
use crate::search::Highlight;
use tantivy::tokenizer::TokenStream;

/// Characters of a fragment at the most.
const FRAGMENT: usize = 160;

/// Characters shown before the first match, at the most.
const LEAD: usize = 40;

/// The stored text of a hit.
#[derive(Debug, Default)]
pub struct Stored {
    /// Name or title.
    pub title: String,
    /// Handle, of personas.
    pub handle: Option<String>,
    /// Longer text.
    pub text: String,
    /// Tags in their order.
    pub tags: Vec<String>,
}

/// A fragment for each field, and each tag, that holds a matched word.
pub fn highlights(words: &Words, stored: &Stored) -> Vec<Highlight> {
    if matches!(words, Words::Everything) {
        return Vec::new();
    }
    let single = [("title", Some(&stored.title)), ("handle", stored.handle.as_ref()), ("text", Some(&stored.text))];
    let tags = stored.tags.iter().map(|tag| ("tags", Some(tag)));
    single.into_iter().chain(tags).filter_map(|(field, text)| highlight(field, text?, words)).collect()
}

fn highlight(field: &'static str, text: &str, words: &Words) -> Option<Highlight> {
    let mut analyzer = analysis::of_documents();
    let mut stream = analyzer.token_stream(text);
    let mut bounds: Option<(usize, usize)> = None;
    let mut matches: Vec<(usize, usize)> = Vec::new();
    while stream.advance() {
        let token = stream.token();
        if bounds.is_some_and(|(_, end)| token.offset_from >= end) {
            break;
        }
        if !words.touch(&token.text) {
            continue;
        }
        let (start, end) = *bounds.get_or_insert_with(|| fragment(text, token.offset_from));
        let found = (token.offset_from.saturating_sub(start), token.offset_to.min(end).saturating_sub(start));
        match matches.last_mut() {
            // Pairs of an unspaced script overlap.
            Some(last) if found.0 < last.1 => last.1 = last.1.max(found.1),
            _ => matches.push(found),
        }
    }
    let (start, end) = bounds?;
    Some(Highlight { field, fragment: text.get(start..end)?.to_owned(), matches })
}

/// The part of the text that is shown around a match: both ends at characters, and between words where that costs
/// little.
fn fragment(text: &str, first_match: usize) -> (usize, usize) {
    let (before, after) = text.split_at_checked(first_match).unwrap_or((text, ""));
    let lead = before.char_indices().rev().nth(LEAD - 1).map_or(0, |(at, _)| at);
    let start = if lead == 0 { 0 } else { lead + before.get(lead..).map_or(0, to_next_word) };
    let shown = text.get(start..first_match).map_or(0, |lead| lead.chars().count());
    let end = after.char_indices().nth(FRAGMENT - shown).map_or(text.len(), |(at, _)| first_match + at);
    if end == text.len() {
        return (start, end);
    }
    let cut = text.get(first_match..end).and_then(|shown| shown.rfind(char::is_whitespace));
    match cut {
        // A last word that would be cut is left out, unless little more than the match would remain.
        Some(cut) if cut > (end - first_match) / 2 => (start, first_match + cut),
        _ => (start, end),
    }
}

/// Bytes to the beginning of the next word; 0 when there is none.
fn to_next_word(text: &str) -> usize {
    text.char_indices().find(|(_, c)| c.is_whitespace()).map_or(0, |(at, space)| at + space.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_text(query: &str, text: &str) -> Option<Highlight> {
        highlight("text", text, &Words::of(query))
    }

    fn marked(highlight: &Highlight) -> Vec<&str> {
        highlight.matches.iter().map(|(from, to)| &highlight.fragment[*from..*to]).collect()
    }

    #[test]
    fn typos_prefixes_accents_and_pairs_are_marked() {
        for (query, text, words) in [
            ("mountian", "High Mountains, low Mountain", vec!["Mountains", "Mountain"]),
            ("creme", "La Crème de la cre\u{300}me", vec!["Crème", "cre\u{300}me"]),
            ("東京都", "今日は東京都にいる", vec!["東京都"]),
            ("🚀", "to the 🚀 and 🚀", vec!["🚀", "🚀"]),
        ] {
            assert_eq!(marked(&of_text(query, text).unwrap()), words, "{query}");
        }
        assert_eq!(of_text("absent", "nothing of that"), None);
        assert_eq!(of_text("", "anything"), None);
    }

    #[test]
    fn a_fragment_lies_around_the_first_match() {
        let text = format!("{} needle {}", "hay ".repeat(100), "straw ".repeat(100));
        let highlight = of_text("needle", &text).unwrap();
        assert!(highlight.fragment.chars().count() <= FRAGMENT);
        assert!(highlight.fragment.starts_with("hay ") && highlight.fragment.ends_with("straw"), "{highlight:?}");
        assert_eq!(marked(&highlight), ["needle"]);
        let short = of_text("needle", "a needle").unwrap();
        assert_eq!((short.fragment.as_str(), short.matches), ("a needle", vec![(2, 8)]));
    }

    #[test]
    fn a_match_longer_than_a_fragment_is_cut_to_it() {
        let word = "é".repeat(500);
        let highlight = of_text(&word, &word).unwrap();
        assert_eq!(highlight.fragment.chars().count(), FRAGMENT);
        assert_eq!(highlight.matches, [(0, highlight.fragment.len())]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn ranges_ascend_and_lie_on_characters(
            text in "([a-c]{1,5}|é|東京|🚀|[ \n,.]|\\PC){0,80}", query in "([a-c]{1,3}|é|東|🚀| ){1,8}",
        ) {
            if let Some(highlight) = of_text(&query, &text) {
                prop_assert!(!highlight.matches.is_empty());
                prop_assert!(highlight.fragment.chars().count() <= FRAGMENT);
                let mut end = 0;
                for (from, to) in highlight.matches {
                    prop_assert!(from >= end && to > from);
                    prop_assert!(highlight.fragment.get(from..to).is_some());
                    end = to;
                }
            }
        }
    }
}
