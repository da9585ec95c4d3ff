//! The view of traffic: the traffic that is made from here.

use ratatui::layout::Rect;

use super::{canvas::Canvas, stacked};
use crate::state::view::Panel;

/// The whole view.
pub fn view(canvas: &mut Canvas<'_, '_, '_>, area: Rect) {
    stacked(canvas, area);
}

/// One panel of it, whatever room it is given.
pub fn panel(canvas: &mut Canvas<'_, '_, '_>, panel: Panel, area: Rect) {
    canvas.panel(panel, area, "", "");
}
