//! A drawing as a list of shapes, in a coordinate system of its own; charts make it, [`super::canvas`] puts it on paper.

/// What a colour is for. Colours are told apart by the colour-blind (Okabe and Ito); each has one for a dark page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tint {
    Paper,
    Ink,
    Soft,
    Grid,
    /// What went wrong.
    Bad,
    Blue,
    Orange,
    Green,
    Purple,
    Sky,
    Brown,
}

/// Those for data, in the order in which they are used.
pub const DATA: [Tint; 6] = [
    Tint::Blue,
    Tint::Orange,
    Tint::Green,
    Tint::Purple,
    Tint::Sky,
    Tint::Brown,
];

impl Tint {
    pub const ALL: [Self; 11] = [
        Self::Paper,
        Self::Ink,
        Self::Soft,
        Self::Grid,
        Self::Bad,
        Self::Blue,
        Self::Orange,
        Self::Green,
        Self::Purple,
        Self::Sky,
        Self::Brown,
    ];

    #[must_use]
    pub fn data(place: usize) -> Self {
        DATA[place % DATA.len()]
    }

    /// On white. No two are the same.
    #[must_use]
    pub fn rgb(self) -> (u8, u8, u8) {
        match self {
            Self::Paper => (0xff, 0xff, 0xff),
            Self::Ink => (0x1c, 0x21, 0x28),
            Self::Soft => (0x57, 0x60, 0x6a),
            Self::Grid => (0xdf, 0xe3, 0xe8),
            Self::Bad => (0xc4, 0x32, 0x1c),
            Self::Blue => (0x00, 0x72, 0xb2),
            Self::Orange => (0xe6, 0x9f, 0x00),
            Self::Green => (0x00, 0x9e, 0x73),
            Self::Purple => (0xb8, 0x5c, 0x94),
            Self::Sky => (0x56, 0xb4, 0xe9),
            Self::Brown => (0x7a, 0x5c, 0x3a),
        }
    }

    /// The name of its variable in a style sheet, and its colour on a dark page.
    #[must_use]
    pub fn variable(self) -> (&'static str, &'static str) {
        match self {
            Self::Paper => ("--paper", "#14181d"),
            Self::Ink => ("--ink", "#e8ebef"),
            Self::Soft => ("--soft", "#a3adb8"),
            Self::Grid => ("--grid", "#303842"),
            Self::Bad => ("--bad", "#ff7b66"),
            Self::Blue => ("--blue", "#4fb0ea"),
            Self::Orange => ("--orange", "#f0b429"),
            Self::Green => ("--green", "#2fc79a"),
            Self::Purple => ("--purple", "#dd8fbd"),
            Self::Sky => ("--sky", "#8fd0f7"),
            Self::Brown => ("--brown", "#c8a882"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Middle,
    Right,
}

/// Text is centred on the height of its small letters at `y`.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub x: f64,
    pub y: f64,
    pub words: String,
    pub size: f64,
    pub tint: Tint,
    pub align: Align,
    pub bold: bool,
    /// Read from below to above.
    pub upright: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    Block {
        from: (f64, f64),
        to: (f64, f64),
        tint: Tint,
        alpha: f64,
    },
    Line {
        points: Vec<(f64, f64)>,
        tint: Tint,
        width: f64,
    },
    Area {
        points: Vec<(f64, f64)>,
        tint: Tint,
        alpha: f64,
    },
    Dot {
        at: (f64, f64),
        radius: f64,
        tint: Tint,
        alpha: f64,
    },
    Text(Text),
}

/// A chart, drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Part of a file's name.
    pub name: String,
    pub title: String,
    /// What it shows, for those who cannot see it.
    pub description: String,
    pub width: f64,
    pub height: f64,
    pub shapes: Vec<Shape>,
}

impl Picture {
    #[must_use]
    pub fn new(name: &str, title: &str, width: f64, height: f64) -> Self {
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            description: title.to_owned(),
            width,
            height,
            shapes: Vec::new(),
        }
    }

    pub fn block(&mut self, from: (f64, f64), to: (f64, f64), tint: Tint, alpha: f64) {
        self.shapes.push(Shape::Block {
            from,
            to,
            tint,
            alpha,
        });
    }

    pub fn line(&mut self, points: Vec<(f64, f64)>, tint: Tint, width: f64) {
        if points.len() > 1 {
            self.shapes.push(Shape::Line {
                points,
                tint,
                width,
            });
        }
    }

    /// A straight line of dashes.
    pub fn dashes(&mut self, from: (f64, f64), to: (f64, f64), tint: Tint, width: f64) {
        const DASH: f64 = 5.0;
        const GAP: f64 = 4.0;
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |way: f64| {
            let share = (way / length).min(1.0);
            (
                from.0 + (to.0 - from.0) * share,
                from.1 + (to.1 - from.1) * share,
            )
        };
        let dashes = (length / (DASH + GAP)).ceil().clamp(0.0, 1_000.0) as usize;
        for dash in 0..dashes {
            let start = dash as f64 * (DASH + GAP);
            self.line(vec![at(start), at(start + DASH)], tint, width);
        }
    }

    pub fn area(&mut self, points: Vec<(f64, f64)>, tint: Tint, alpha: f64) {
        if points.len() > 2 {
            self.shapes.push(Shape::Area {
                points,
                tint,
                alpha,
            });
        }
    }

    pub fn dot(&mut self, at: (f64, f64), radius: f64, tint: Tint, alpha: f64) {
        self.shapes.push(Shape::Dot {
            at,
            radius,
            tint,
            alpha,
        });
    }

    /// A failure: a cross, which is not told by colour alone.
    pub fn cross(&mut self, (x, y): (f64, f64), radius: f64, tint: Tint) {
        for way in [-radius, radius] {
            self.line(
                vec![(x - radius, y - way), (x + radius, y + way)],
                tint,
                1.5,
            );
        }
    }

    pub fn text(&mut self, at: (f64, f64), align: Align, size: f64, tint: Tint, text: &str) {
        self.write(at, align, size, tint, text, false);
    }

    pub fn bold(&mut self, at: (f64, f64), align: Align, size: f64, tint: Tint, text: &str) {
        self.write(at, align, size, tint, text, true);
    }

    pub fn upright(&mut self, (x, y): (f64, f64), size: f64, tint: Tint, text: &str) {
        self.shapes.push(Shape::Text(Text {
            x,
            y,
            words: text.to_owned(),
            size,
            tint,
            align: Align::Middle,
            bold: false,
            upright: true,
        }));
    }

    fn write(
        &mut self,
        (x, y): (f64, f64),
        align: Align,
        size: f64,
        tint: Tint,
        text: &str,
        bold: bool,
    ) {
        self.shapes.push(Shape::Text(Text {
            x,
            y,
            words: text.to_owned(),
            size,
            tint,
            align,
            bold,
            upright: false,
        }));
    }
}
