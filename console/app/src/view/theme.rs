//! All colours and emphases of the console; nothing else names one.

use ratatui::style::{Color, Modifier, Style};

/// How many colours the terminal can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// None wanted (`NO_COLOR`): attributes only.
    Monochrome,
    Sixteen,
    #[default]
    Indexed,
    True,
}

/// Styles by meaning.
#[derive(Clone, Debug)]
pub struct Theme {
    /// Ordinary text: the terminal's own colours.
    pub text: Style,
    /// Names and headline numbers.
    pub strong: Style,
    /// Labels, units, what can be skipped.
    pub dim: Style,
    /// Borders, empty tracks, tree lines.
    pub faint: Style,
    pub title: Style,
    /// The product's name and the keys.
    pub accent: Style,
    pub good: Style,
    pub notice: Style,
    pub warning: Style,
    pub critical: Style,
    /// Bars and charts of normal traffic.
    pub bar: Style,
    /// Charts of errors.
    pub error_bar: Style,
    /// Where a bar should end.
    pub expected: Style,
    /// Charts of the cache.
    pub cache_bar: Style,
    /// A dialog that asks before something is lost.
    pub danger: Style,
    /// The chosen row; it is reversed as well.
    pub chosen: Style,
}

/// The few colours everything is made of.
struct Palette {
    dim: Color,
    faint: Color,
    accent: Color,
    good: Color,
    notice: Color,
    warning: Color,
    critical: Color,
    bar: Color,
    cache: Color,
}

const TRUE: Palette = Palette {
    dim: Color::Rgb(134, 144, 166),
    faint: Color::Rgb(72, 80, 100),
    accent: Color::Rgb(97, 200, 190),
    good: Color::Rgb(134, 200, 120),
    notice: Color::Rgb(120, 170, 240),
    warning: Color::Rgb(230, 180, 90),
    critical: Color::Rgb(244, 112, 120),
    bar: Color::Rgb(96, 158, 220),
    cache: Color::Rgb(170, 140, 220),
};

const INDEXED: Palette = Palette {
    dim: Color::Indexed(103),
    faint: Color::Indexed(240),
    accent: Color::Indexed(79),
    good: Color::Indexed(114),
    notice: Color::Indexed(111),
    warning: Color::Indexed(179),
    critical: Color::Indexed(204),
    bar: Color::Indexed(74),
    cache: Color::Indexed(140),
};

const SIXTEEN: Palette = Palette {
    dim: Color::Gray,
    faint: Color::DarkGray,
    accent: Color::Cyan,
    good: Color::Green,
    notice: Color::LightBlue,
    warning: Color::Yellow,
    critical: Color::LightRed,
    bar: Color::LightBlue,
    cache: Color::Magenta,
};

impl Theme {
    pub fn new(depth: Depth) -> Self {
        match depth {
            Depth::True => Self::colourful(&TRUE),
            Depth::Indexed => Self::colourful(&INDEXED),
            Depth::Sixteen => Self::colourful(&SIXTEEN),
            Depth::Monochrome => Self::monochrome(),
        }
    }

    fn colourful(palette: &Palette) -> Self {
        let of = |colour| Style::new().fg(colour);
        Self {
            text: Style::new(),
            strong: Style::new().add_modifier(Modifier::BOLD),
            dim: of(palette.dim),
            faint: of(palette.faint),
            title: of(palette.accent).add_modifier(Modifier::BOLD),
            accent: of(palette.accent).add_modifier(Modifier::BOLD),
            good: of(palette.good),
            notice: of(palette.notice),
            warning: of(palette.warning).add_modifier(Modifier::BOLD),
            critical: of(palette.critical).add_modifier(Modifier::BOLD),
            bar: of(palette.bar),
            error_bar: of(palette.critical),
            expected: of(palette.accent),
            cache_bar: of(palette.cache),
            danger: of(palette.critical).add_modifier(Modifier::BOLD),
            chosen: Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// Emphasis without any colour, for `NO_COLOR`.
    fn monochrome() -> Self {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let dim = plain.add_modifier(Modifier::DIM);
        Self {
            text: plain,
            strong: bold,
            dim: plain,
            faint: dim,
            title: bold,
            accent: bold,
            good: plain,
            notice: plain,
            warning: bold,
            critical: bold.add_modifier(Modifier::REVERSED),
            bar: plain,
            error_bar: bold,
            expected: bold,
            cache_bar: plain,
            danger: bold.add_modifier(Modifier::REVERSED),
            chosen: plain.add_modifier(Modifier::REVERSED),
        }
    }
}
