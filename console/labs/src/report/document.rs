//! A report's text as blocks, which [`super::markdown`] and [`super::html`] write each in its way: all words are plain here, and each
//! writer escapes them.

use super::picture::Picture;

/// A piece of a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    Plain(String),
    Strong(String),
    Code(String),
    /// To a file of the report's folder.
    Link(String, String),
}

/// Pieces make a line.
pub type Line = Vec<Piece>;

#[must_use]
pub fn plain(text: impl Into<String>) -> Piece {
    Piece::Plain(text.into())
}

#[must_use]
pub fn strong(text: impl Into<String>) -> Piece {
    Piece::Strong(text.into())
}

#[must_use]
pub fn code(text: impl Into<String>) -> Piece {
    Piece::Code(text.into())
}

#[must_use]
pub fn link(text: impl Into<String>, file: impl Into<String>) -> Piece {
    Piece::Link(text.into(), file.into())
}

/// A table; the cells of all columns but the first are figures when `figures` is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grid {
    pub head: Vec<String>,
    pub rows: Vec<Vec<Line>>,
    pub figures: bool,
}

impl Grid {
    #[must_use]
    pub fn new(head: &[&str], figures: bool) -> Self {
        Self {
            head: head.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
            figures,
        }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows
            .push(cells.into_iter().map(|cell| vec![plain(cell)]).collect());
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// 2 and 3; the title is 1.
    Heading(u8, String),
    Paragraph(Line),
    List(Vec<Line>),
    Table(Grid),
    /// Lines to type.
    Commands(Vec<String>),
    Chart(Picture),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    pub title: String,
    pub blocks: Vec<Block>,
}

impl Document {
    pub fn heading(&mut self, level: u8, text: impl Into<String>) {
        self.blocks.push(Block::Heading(level, text.into()));
    }

    pub fn paragraph(&mut self, line: Line) {
        self.blocks.push(Block::Paragraph(line));
    }

    pub fn say(&mut self, text: impl Into<String>) {
        self.paragraph(vec![plain(text)]);
    }

    pub fn table(&mut self, grid: Grid) {
        if !grid.rows.is_empty() {
            self.blocks.push(Block::Table(grid));
        }
    }

    pub fn list(&mut self, lines: Vec<Line>) {
        if !lines.is_empty() {
            self.blocks.push(Block::List(lines));
        }
    }

    pub fn charts(&mut self, pictures: Vec<Picture>) {
        self.blocks.extend(pictures.into_iter().map(Block::Chart));
    }

    pub fn pictures(&self) -> impl Iterator<Item = &Picture> {
        self.blocks.iter().filter_map(|block| match block {
            Block::Chart(picture) => Some(picture),
            _ => None,
        })
    }
}
