//! What all charts have in common: title, axes, grid, legend.

use crate::report::{
    canvas::width,
    picture::{Align, Picture, Tint},
    scale::Scale,
    words,
};

pub const WIDTH: f64 = 880.0;
/// The place of the data.
pub const LEFT: f64 = 84.0;
pub const RIGHT: f64 = WIDTH - 28.0;
pub const TOP: f64 = 78.0;
pub const LABEL: f64 = 13.0;

/// A picture with its title and a line below it.
pub fn titled(name: &str, title: &str, below: &str, height: f64) -> Picture {
    let title = words::short(title, 78);
    let mut picture = Picture::new(name, &title, WIDTH, height);
    picture.bold((24.0, 26.0), Align::Left, 18.0, Tint::Ink, &title);
    let below = words::short(below, 118);
    picture.text((24.0, 50.0), Align::Left, LABEL, Tint::Soft, &below);
    picture.description = format!("{title}: {below}");
    picture
}

/// The left axis with a grid.
pub fn left(
    picture: &mut Picture,
    scale: &Scale,
    marks: &[f64],
    say: impl Fn(f64) -> String,
    title: &str,
) {
    for mark in marks {
        let y = scale.place(*mark);
        picture.line(vec![(LEFT, y), (RIGHT, y)], Tint::Grid, 1.0);
        picture.text(
            (LEFT - 9.0, y),
            Align::Right,
            LABEL,
            Tint::Soft,
            &say(*mark),
        );
    }
    let middle = f64::midpoint(scale.place(scale.low()), scale.place(scale.high()));
    picture.upright((20.0, middle), LABEL, Tint::Soft, &words::short(title, 44));
}

/// The axis below, at the height `y`; with a grid up to `to`.
pub fn below(
    picture: &mut Picture,
    scale: &Scale,
    marks: &[f64],
    say: impl Fn(f64) -> String,
    title: &str,
    (to, y): (f64, f64),
) {
    let mut free = 0.0;
    for mark in marks {
        let x = scale.place(*mark);
        picture.line(vec![(x, to), (x, y)], Tint::Grid, 1.0);
        picture.line(vec![(x, y), (x, y + 5.0)], Tint::Soft, 1.0);
        let label = say(*mark);
        let half = width(&label, LABEL, false) / 2.0;
        if x - half >= free {
            picture.text((x, y + 17.0), Align::Middle, LABEL, Tint::Soft, &label);
            free = x + half + 6.0;
        }
    }
    picture.line(
        vec![
            (scale.place(scale.low()), y),
            (scale.place(scale.high()), y),
        ],
        Tint::Soft,
        1.2,
    );
    let middle = f64::midpoint(LEFT, RIGHT);
    picture.text((middle, y + 39.0), Align::Middle, LABEL, Tint::Soft, title);
}

/// Names beside their colours, from left to right.
pub fn legend(picture: &mut Picture, y: f64, entries: &[(Tint, String)]) {
    let mut x = LEFT;
    for (tint, name) in entries {
        let name = words::short(name, 48);
        let wide = width(&name, LABEL, false);
        if x + 20.0 + wide > RIGHT {
            break;
        }
        picture.block((x, y - 5.0), (x + 12.0, y + 5.0), *tint, 1.0);
        picture.text((x + 18.0, y), Align::Left, LABEL, Tint::Ink, &name);
        x += 18.0 + wide + 24.0;
    }
}

/// `n = 1 200`, with a thin space where there are many.
pub fn counted(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) && digits.len() > 4 {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    format!("n = {grouped}")
}
