//! Puts a picture on paper: as SVG and as PNG, with a font that is part of the program.

use std::{convert::Infallible, sync::LazyLock};

use ab_glyph::{Font as _, FontRef, Glyph, ScaleFont as _, point};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind,
    FontFamily, FontStyle, FontTransform,
    text_anchor::{HPos, Pos, VPos},
};
use plotters_bitmap::BitMapBackend;
use plotters_svg::SVGBackend;

use super::{
    picture::{Align, Picture, Shape, Text, Tint},
    words,
};

/// Units of the drawing for one of the picture: the backends know whole numbers only.
const FINE: f64 = 4.0;
/// A pixel of the PNG is the mean of so many by so many: smooth edges.
const SMOOTH: usize = 2;
const FAMILY: &str = "Noto Sans, Segoe UI, Helvetica, Arial, sans-serif";
/// Of letters in a chart; what is longer was cut before.
const LETTERS: usize = 400;

static REGULAR: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(notosans::REGULAR_TTF).ok());
static BOLD: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(notosans::BOLD_TTF).ok());

/// The width of a text in units of the picture.
#[must_use]
pub fn width(text: &str, size: f64, bold: bool) -> f64 {
    let Some(font) = font(bold) else {
        return text.chars().count() as f64 * size * 0.6;
    };
    let font = font.as_scaled(em(font, size));
    let widths = text
        .chars()
        .map(|letter| font.h_advance(font.glyph_id(letter)));
    f64::from(widths.sum::<f32>())
}

/// As an SVG document.
pub fn svg(picture: &Picture) -> Result<String, String> {
    let mut drawn = String::new();
    let size = size(picture);
    {
        let mut backend = SVGBackend::with_string(&mut drawn, size);
        draw(picture, &mut backend, false)?;
    }
    // It is as large as the picture, and drawn in finer units.
    let fine = format!(r#"width="{}" height="{}""#, size.0, size.1);
    let coarse = format!(
        r#"width="{}" height="{}" role="img" aria-label="{}""#,
        picture.width,
        picture.height,
        super::html::escape(&picture.description)
    );
    Ok(drawn.replacen(&fine, &coarse, 1))
}

/// The same without a size and with colours that a style sheet sets, for a page.
pub fn inline_svg(picture: &Picture) -> Result<String, String> {
    let size = format!(r#" width="{}" height="{}""#, picture.width, picture.height);
    let mut drawn = svg(picture)?.replacen(&size, "", 1);
    for tint in Tint::ALL {
        let colour = format!(r#"="{}""#, hex(tint));
        let variable = format!(r#"="var({})""#, tint.variable().0);
        drawn = drawn.replace(&colour, &variable);
    }
    Ok(drawn)
}

/// `#0072B2`.
#[must_use]
pub fn hex(tint: Tint) -> String {
    let (red, green, blue) = tint.rgb();
    format!("#{red:02X}{green:02X}{blue:02X}")
}

/// As a PNG of twice the picture's size.
pub fn png(picture: &Picture) -> Result<Vec<u8>, String> {
    let (wide, high) = size(picture);
    let mut pixels = vec![0xff; wide as usize * high as usize * 3];
    draw(
        picture,
        &mut BitMapBackend::with_buffer(&mut pixels, (wide, high)),
        true,
    )?;
    let (columns, rows) = (wide as usize / SMOOTH, high as usize / SMOOTH);
    let mut smooth = Vec::with_capacity(columns * rows * 3);
    for row in 0..rows {
        for column in 0..columns {
            for colour in 0..3 {
                let mut sum = 0;
                for y in 0..SMOOTH {
                    let line = (row * SMOOTH + y) * wide as usize;
                    for x in 0..SMOOTH {
                        sum += usize::from(pixels[(line + column * SMOOTH + x) * 3 + colour]);
                    }
                }
                smooth.push((sum / (SMOOTH * SMOOTH)) as u8);
            }
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, columns as u32, rows as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
    writer
        .write_image_data(&smooth)
        .map_err(|error| error.to_string())?;
    writer.finish().map_err(|error| error.to_string())?;
    Ok(file)
}

/// Of the drawing; divisible.
fn size(picture: &Picture) -> (u32, u32) {
    let fine = |length: f64| (length.clamp(10.0, 4_000.0).round() * FINE) as u32;
    (fine(picture.width), fine(picture.height))
}

struct Stroke {
    colour: BackendColor,
    width: u32,
}

impl BackendStyle for Stroke {
    fn color(&self) -> BackendColor {
        self.colour
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

fn fine((x, y): (f64, f64)) -> BackendCoord {
    // A coordinate that is no number becomes zero, one far away stays far away.
    let whole = |value: f64| (value.clamp(-20_000.0, 20_000.0) * FINE).round() as i32;
    (whole(x), whole(y))
}

fn colour(tint: Tint, alpha: f64) -> BackendColor {
    BackendColor {
        alpha,
        rgb: tint.rgb(),
    }
}

/// `apart`: a line as its stretches, because a bitmap takes a whole one for a polygon that is filled very slowly.
fn draw<B: DrawingBackend>(picture: &Picture, backend: &mut B, apart: bool) -> Result<(), String> {
    let drawn = |outcome: Result<(), DrawingErrorKind<B::ErrorType>>| {
        outcome.map_err(|error| format!("drawing {}: {error}", picture.name))
    };
    drawn(backend.ensure_prepared())?;
    let corner = fine((picture.width, picture.height));
    drawn(backend.draw_rect((0, 0), corner, &colour(Tint::Paper, 1.0), true))?;
    for shape in &picture.shapes {
        drawn(match shape {
            Shape::Block {
                from,
                to,
                tint,
                alpha,
            } => {
                let (from, to) = (fine(*from), fine(*to));
                let upper = (from.0.min(to.0), from.1.min(to.1));
                let lower = (from.0.max(to.0), from.1.max(to.1));
                backend.draw_rect(upper, lower, &colour(*tint, *alpha), true)
            }
            Shape::Line {
                points,
                tint,
                width,
            } => {
                let stroke = Stroke {
                    colour: colour(*tint, 1.0),
                    width: (width * FINE).round().max(1.0) as u32,
                };
                match points[..] {
                    [from, to] => backend.draw_line(fine(from), fine(to), &stroke),
                    _ if apart => points.windows(2).try_for_each(|ends| {
                        backend.draw_line(fine(ends[0]), fine(ends[1]), &stroke)
                    }),
                    _ => backend.draw_path(points.iter().map(|point| fine(*point)), &stroke),
                }
            }
            Shape::Area {
                points,
                tint,
                alpha,
            } => {
                let points = points.iter().map(|point| fine(*point));
                backend.fill_polygon(points, &colour(*tint, *alpha))
            }
            Shape::Dot {
                at,
                radius,
                tint,
                alpha,
            } => backend.draw_circle(
                fine(*at),
                (radius * FINE).round().max(1.0) as u32,
                &colour(*tint, *alpha),
                true,
            ),
            Shape::Text(text) => {
                let line = words::short(&text.words, LETTERS);
                backend.draw_text(&line, &Letters(text), fine((text.x, text.y)))
            }
        })?;
    }
    drawn(backend.present())
}

fn font(bold: bool) -> Option<&'static FontRef<'static>> {
    if bold {
        BOLD.as_ref()
    } else {
        REGULAR.as_ref()
    }
}

/// The scale at which an em is so many pixels.
fn em(font: &FontRef<'static>, size: f64) -> f32 {
    let units = font.units_per_em().unwrap_or(1000.0);
    size as f32 * font.height_unscaled() / units
}

/// How the backends are told of a text; those that know no text draw it by this.
struct Letters<'a>(&'a Text);

impl BackendTextStyle for Letters<'_> {
    type FontError = Infallible;

    fn color(&self) -> BackendColor {
        colour(self.0.tint, 1.0)
    }

    /// The SVG backend divides by 1.24.
    fn size(&self) -> f64 {
        self.0.size * FINE * 1.24
    }

    fn transform(&self) -> FontTransform {
        if self.0.upright {
            FontTransform::Rotate270
        } else {
            FontTransform::None
        }
    }

    fn style(&self) -> FontStyle {
        if self.0.bold {
            FontStyle::Bold
        } else {
            FontStyle::Normal
        }
    }

    fn anchor(&self) -> Pos {
        let across = match self.0.align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        Pos::new(across, VPos::Center)
    }

    fn family(&self) -> FontFamily<'_> {
        FontFamily::Name(FAMILY)
    }

    fn layout_box(&self, text: &str) -> Result<((i32, i32), (i32, i32)), Infallible> {
        let wide = width(text, self.0.size * FINE, self.0.bold);
        Ok(((0, 0), (wide.round() as i32, 0)))
    }

    fn draw<E, DrawFunc: FnMut(i32, i32, BackendColor) -> Result<(), E>>(
        &self,
        text: &str,
        (x, y): BackendCoord,
        mut draw: DrawFunc,
    ) -> Result<Result<(), E>, Infallible> {
        let Some(font) = font(self.0.bold) else {
            return Ok(Ok(()));
        };
        let size = self.0.size * FINE;
        let scale = em(font, size);
        let scaled = font.as_scaled(scale);
        // Half of an x-height below, as SVG's `0.5ex`.
        let baseline = y as f32 + size as f32 * 0.268;
        let mut at = x as f32;
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            let glyph: Glyph = id.with_scale_and_position(scale, point(at, baseline));
            at += scaled.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else {
                continue;
            };
            let corner = outline.px_bounds().min;
            let mut outcome = Ok(());
            outline.draw(|column, row, cover| {
                if outcome.is_ok() && cover > 0.0 {
                    let x = corner.x as i32 + column.cast_signed();
                    let y = corner.y as i32 + row.cast_signed();
                    outcome = draw(x, y, colour(self.0.tint, f64::from(cover.min(1.0))));
                }
            });
            if outcome.is_err() {
                return Ok(outcome);
            }
        }
        Ok(Ok(()))
    }
}
