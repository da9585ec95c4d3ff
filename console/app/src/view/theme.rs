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

/// The themes by name, in the order that their key goes through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// For a dark background.
    #[default]
    Dark,
    /// For a light one.
    Light,
    /// Told apart with any kind of colour vision, on a dark background.
    Safe,
    /// The terminal's own sixteen colours, whatever its background.
    Sixteen,
    /// No colours at all.
    Mono,
}

impl Scheme {
    pub const ALL: [Self; 5] = [
        Self::Dark,
        Self::Light,
        Self::Safe,
        Self::Sixteen,
        Self::Mono,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::Safe => "safe",
            Self::Sixteen => "sixteen",
            Self::Mono => "mono",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    /// The one after it, the first after the last.
    pub fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }
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
#[derive(Clone, Copy)]
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

const DARK: Palette = Palette {
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

const LIGHT: Palette = Palette {
    dim: Color::Rgb(88, 96, 112),
    faint: Color::Rgb(176, 182, 194),
    accent: Color::Rgb(0, 108, 104),
    good: Color::Rgb(30, 112, 40),
    notice: Color::Rgb(24, 88, 184),
    warning: Color::Rgb(140, 84, 0),
    critical: Color::Rgb(184, 20, 44),
    bar: Color::Rgb(32, 100, 180),
    cache: Color::Rgb(112, 64, 176),
};

/// Sky blue, yellow and vermilion stay apart where red and green do not.
const SAFE: Palette = Palette {
    dim: Color::Rgb(150, 156, 170),
    faint: Color::Rgb(80, 86, 100),
    accent: Color::Rgb(86, 180, 233),
    good: Color::Rgb(86, 180, 233),
    notice: Color::Rgb(204, 150, 190),
    warning: Color::Rgb(240, 228, 66),
    critical: Color::Rgb(255, 128, 48),
    bar: Color::Rgb(86, 180, 233),
    cache: Color::Rgb(204, 150, 190),
};

const SIXTEEN: Palette = Palette {
    dim: Color::Reset,
    faint: Color::DarkGray,
    accent: Color::Cyan,
    good: Color::Green,
    notice: Color::Blue,
    warning: Color::Yellow,
    critical: Color::Red,
    bar: Color::Blue,
    cache: Color::Magenta,
};

/// The colour of the 256 that is nearest: the cube of six steps a side, or the greys.
fn indexed(colour: Color) -> Color {
    let Color::Rgb(red, green, blue) = colour else {
        return colour;
    };
    let steps = [0_u8, 95, 135, 175, 215, 255];
    let near = |value: u8| {
        (0..6_u8)
            .min_by_key(|&step| steps[usize::from(step)].abs_diff(value))
            .unwrap_or(0)
    };
    let (r, g, b) = (near(red), near(green), near(blue));
    let distance = |other: [u8; 3]| -> u32 {
        [red, green, blue]
            .iter()
            .zip(other)
            .map(|(a, b)| u32::from(a.abs_diff(b)).pow(2))
            .sum()
    };
    let cube = [r, g, b].map(|step| steps[usize::from(step)]);
    let average = (u32::from(red) + u32::from(green) + u32::from(blue)) / 3;
    let grey = (average.saturating_sub(8) / 10).min(23) as u8;
    let level = 8 + 10 * grey;
    if distance([level; 3]) < distance(cube) {
        Color::Indexed(232 + grey)
    } else {
        Color::Indexed(16 + 36 * r + 6 * g + b)
    }
}

impl Palette {
    fn map(self, to: fn(Color) -> Color) -> Self {
        Self {
            dim: to(self.dim),
            faint: to(self.faint),
            accent: to(self.accent),
            good: to(self.good),
            notice: to(self.notice),
            warning: to(self.warning),
            critical: to(self.critical),
            bar: to(self.bar),
            cache: to(self.cache),
        }
    }
}

impl Theme {
    /// The theme in as many colours as the terminal can show.
    pub fn new(scheme: Scheme, depth: Depth) -> Self {
        let palette = match scheme {
            Scheme::Dark => DARK,
            Scheme::Light => LIGHT,
            Scheme::Safe => SAFE,
            Scheme::Sixteen => SIXTEEN,
            Scheme::Mono => return Self::monochrome(),
        };
        match depth {
            Depth::True => Self::colourful(&palette),
            Depth::Indexed => Self::colourful(&palette.map(indexed)),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance as WCAG defines it.
    fn luminance(colour: Color) -> f64 {
        let Color::Rgb(red, green, blue) = colour else {
            panic!("{colour:?} has no fixed luminance");
        };
        let [red, green, blue] = [red, green, blue].map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 {
                value / 12.92
            } else {
                ((value + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }

    fn contrast(a: Color, b: Color) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn pitfall_08_words_can_be_read_on_the_background_they_are_for() {
        let dark = [Color::Rgb(0, 0, 0), Color::Rgb(30, 30, 46)];
        let light = [Color::Rgb(255, 255, 255), Color::Rgb(250, 244, 230)];
        for (palette, backgrounds) in [(DARK, dark), (SAFE, dark), (LIGHT, light)] {
            for background in backgrounds {
                for colour in [
                    palette.dim,
                    palette.accent,
                    palette.good,
                    palette.notice,
                    palette.warning,
                    palette.critical,
                ] {
                    let contrast = contrast(colour, background);
                    assert!(
                        contrast >= 4.5,
                        "{colour:?} on {background:?}: {contrast:.2}"
                    );
                }
            }
        }
        // Ordinary text is the terminal's own: it is readable on any background.
        for scheme in Scheme::ALL {
            let theme = Theme::new(scheme, Depth::True);
            assert_eq!((theme.text.fg, theme.strong.fg), (None, None));
            assert_eq!(Scheme::named(scheme.name()), Some(scheme));
        }
    }

    #[test]
    fn the_nearest_of_256_is_near() {
        assert_eq!(indexed(Color::Rgb(0, 0, 0)), Color::Indexed(16));
        assert_eq!(indexed(Color::Rgb(255, 0, 0)), Color::Indexed(196));
        assert_eq!(indexed(Color::Rgb(128, 128, 128)), Color::Indexed(244));
        assert_eq!(indexed(Color::Reset), Color::Reset);
    }
}
