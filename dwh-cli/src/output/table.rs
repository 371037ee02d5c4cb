//! Columns that line up, wide letters included: no borders, one line a row, numbers to the right.

use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table as Grid, presets};

use super::{Paint, printable};

/// What a cell wants to be seen as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Well.
    Good,
    /// May go wrong.
    Warn,
    /// Went wrong.
    Bad,
}

/// A table that grows by rows.
pub struct Table {
    grid: Grid,
    paint: Paint,
}

impl Table {
    /// A table of these columns; a name that starts with `>` is a column of numbers.
    pub fn new(columns: &[&str], paint: Paint) -> Self {
        let mut grid = Grid::new();
        // Rows are never wrapped to the terminal: a wrapped row cannot be read, nor cut with `awk`.
        grid.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        grid.set_header(columns.iter().map(|name| name.trim_start_matches('>')));
        if paint.0 {
            grid.enforce_styling()
        } else {
            grid.force_no_tty()
        };
        for (column, name) in grid.column_iter_mut().zip(columns) {
            column.set_padding((0, 2));
            if name.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { grid, paint }
    }

    /// One more row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let paint = self.paint.0;
        self.grid.add_row(cells.into_iter().map(|(text, tone)| {
            let cell = Cell::new(printable(&text).replace(['\n', '\t'], " "));
            match tone {
                Tone::Good if paint => cell.fg(Color::Green),
                Tone::Warn if paint => cell.fg(Color::Yellow),
                Tone::Bad if paint => cell.fg(Color::Red),
                _ => cell,
            }
        }));
    }

    /// The lines.
    pub fn text(&self) -> String {
        self.grid.trim_fmt() + "\n"
    }
}

/// A cell of no special tone.
pub fn plain(text: impl Into<String>) -> (String, Tone) {
    (text.into(), Tone::Plain)
}
