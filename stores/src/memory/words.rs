//! Words of a text, for keyword recall and for telling near-identical texts: one definition, so that both agree.
//!
//! A word is a run of letters and digits, lower-cased, without accents (`Café` and `cafe` are one word), composed and
//! decomposed spellings alike. Chinese and Japanese are written without spaces: there each character is a word. No
//! stemming and no stop words: a word matches itself alone.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// The words of `text`, in order, with repeats.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    // Compatibility decomposition splits accents off their letters and turns full-width letters and ligatures into
    // plain ones; what is not an accent of European scripts (such as a Devanagari vowel) is put together again.
    for c in text.nfkd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase).nfc() {
        if is_ideograph(c) {
            take(&mut word, &mut words);
            words.push(c.to_string());
        } else if c.is_alphanumeric() || (is_combining_mark(c) && !word.is_empty()) {
            push_folded(&mut word, c);
        } else {
            take(&mut word, &mut words);
        }
    }
    take(&mut word, &mut words);
    words
}

fn take(word: &mut String, words: &mut Vec<String>) {
    if !word.is_empty() {
        words.push(std::mem::take(word));
    }
}

fn is_accent(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036f}')
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
}

/// Letters that Unicode does not decompose although their readers take them for variants.
fn push_folded(word: &mut String, c: char) {
    match c {
        'ß' => word.push_str("ss"),
        'æ' => word.push_str("ae"),
        'œ' => word.push_str("oe"),
        'ø' => word.push('o'),
        'đ' => word.push('d'),
        'ł' => word.push('l'),
        'ς' => word.push('σ'),
        c => word.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_folded_alike_however_they_are_spelt() {
        assert_eq!(words("Café, CAFE\u{301}! ｃａｆé"), ["cafe", "cafe", "cafe"]);
        assert_eq!(
            words("Straße STRASSE Øre Łódź œuvre İstanbul"),
            ["strasse", "strasse", "ore", "lodz", "oeuvre", "istanbul"]
        );
        assert_eq!(words("ΟΔΥΣΣΕΥΣ Ὀδυσσεύς"), ["οδυσσευσ", "οδυσσευσ"]);
    }

    #[test]
    fn scripts_without_spaces_and_scripts_with_marks_keep_their_words() {
        assert_eq!(words("東京 tower"), ["東", "京", "tower"]);
        assert_eq!(words("हिन्दी भाषा"), ["हिन्दी", "भाषा"]);
        assert_eq!(words("❤\u{fe0f} 3D-print don't"), ["3d", "print", "don", "t"]);
        assert!(words(" \n…!❤️").is_empty());
    }
}
