//! Lines that are too long for a screen, folded between words.

use unicode_width::UnicodeWidthStr;

/// Folds each line of a text at spaces, and indents what follows. What stands in backticks stays whole: it is pasted.
pub fn fold(text: &str, width: Option<usize>, indent: usize) -> String {
    let Some(width) = width else { return text.to_owned() };
    let lines: Vec<String> = text.split('\n').map(|line| fold_line(line, width, indent)).collect();
    lines.join("\n")
}

fn fold_line(line: &str, width: usize, indent: usize) -> String {
    let mut folded = String::new();
    let mut column = 0;
    for word in words(line) {
        let wide = word.width();
        if column > 0 && column + 1 + wide > width {
            folded.push('\n');
            folded.push_str(&" ".repeat(indent));
            column = indent;
        } else if !folded.is_empty() {
            folded.push(' ');
            column += 1;
        }
        folded.push_str(word);
        column += wide;
    }
    folded
}

/// What is parted by spaces outside of backticks; spaces at the beginning belong to the first word.
fn words(line: &str) -> Vec<&str> {
    let (mut words, mut begin, mut quoted, mut text) = (Vec::new(), 0, false, false);
    for (at, letter) in line.char_indices() {
        match letter {
            '`' => (quoted, text) = (!quoted, true),
            ' ' if text && !quoted => {
                words.push(&line[begin..at]);
                begin = at + 1;
            }
            ' ' => {}
            _ => text = true,
        }
    }
    words.push(&line[begin..]);
    words
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn lines_end_between_words_and_what_is_pasted_stays_whole() {
        let text = "table `trips`: no key\n  first type `dwh run trips --wait` and then look";
        assert_eq!(
            fold(text, Some(30), 2),
            "table `trips`: no key\n  first type\n  `dwh run trips --wait` and\n  then look"
        );
        assert_eq!(fold(text, None, 2), text);
        // nothing can be done for a word that is too long, and an odd backtick ends with its line
        assert_eq!(fold("an `odd one", Some(4), 0), "an\n`odd one");
        assert_eq!(fold("", Some(4), 0), "");
    }
}
