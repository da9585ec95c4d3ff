//! The last step where the terminal has no Unicode: every cell becomes plain ASCII.

use ratatui::buffer::Buffer;

/// Replaces every symbol that is not ASCII; shapes keep their meaning.
pub fn reduce(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if cell.symbol().is_ascii() {
            continue;
        }
        let symbol = cell.symbol().chars().next().map_or(' ', plain);
        cell.set_char(symbol);
    }
}

/// The same for a text.
pub fn text(text: &str) -> String {
    text.chars()
        .map(|symbol| {
            if symbol.is_ascii() {
                symbol
            } else {
                plain(symbol)
            }
        })
        .collect()
}

/// Groups of symbols and what stands for each of them.
const PLAIN: &[(&str, char)] = &[
    ("–─╌—", '-'),
    ("│┃╎", '|'),
    ("╭╮╰╯├┤┬┴┼└┌┐┘", '+'),
    ("…", '~'),
    ("·░▁", '.'),
    ("→▶▸", '>'),
    ("×", 'x'),
    ("↻", '@'),
    ("↯", '!'),
    ("●", 'o'),
    ("✖", 'X'),
    ("▲", '!'),
    ("◐", '%'),
    ("◔", '?'),
    ("○◇◆□", '*'),
    ("↓", 'v'),
    ("↑", '^'),
    ("▒▓", '#'),
    ("▀", '"'),
    ("▂▃", ':'),
    ("▄▅", '='),
    ("▆▇█▉▊▋▌", '#'),
    ("▍▎▏", '+'),
    ("áàä", 'a'),
    ("éèë", 'e'),
    ("í", 'i'),
    ("óö", 'o'),
    ("úü", 'u'),
    ("ñ", 'n'),
];

fn plain(symbol: char) -> char {
    PLAIN
        .iter()
        .find(|(group, _)| group.contains(symbol))
        .map_or('?', |(_, plain)| *plain)
}
