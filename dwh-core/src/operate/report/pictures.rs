//! The pictures, as SVG. Each colour is one of the palette, which the style sheet of the page turns for a dark screen.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::error::{Error, ErrorKind, Result};

/// Text and axes.
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
/// Lines behind the data.
const GRID: RGBColor = RGBColor(0xd8, 0xde, 0xe4);
/// The data.
pub(super) const BLUE: RGBColor = RGBColor(0x25, 0x63, 0xeb);
/// A second series beside it.
pub(super) const SKY: RGBColor = RGBColor(0x93, 0xc5, 0xfd);
/// What is wrong.
pub(super) const RED: RGBColor = RGBColor(0xdc, 0x26, 0x26);

/// Not wide, so that its letters can be read where it is shrunk to a phone.
const WIDTH: u32 = 480;
const HEIGHT: u32 = 190;
/// Room of a row of [`across`], and above and below all of them.
const ROW: u32 = 22;
const MARGIN: u32 = 12;
/// Room of the names of [`across`], and of the numbers behind their bars.
const NAMES: i32 = 190;
const NUMBERS: i32 = 80;
/// Height of letters.
const LETTERS: i32 = 14;

/// One series of a picture over days.
#[derive(Debug)]
pub(super) struct Series {
    pub name: &'static str,
    pub color: RGBColor,
    pub values: Vec<f64>,
}

/// Columns, one a day; several series stand on each other.
pub(super) fn columns(labels: &[String], series: &[Series], unit: &dyn Fn(f64) -> String) -> Result<String> {
    let top = (0..labels.len()).map(|day| series.iter().map(|one| one.values[day]).sum()).fold(0.0, f64::max);
    over_days(labels, top, unit, |chart| {
        for day in 0..labels.len() {
            let mut base = 0.0;
            for one in series.iter().filter(|one| one.values[day] > 0.0) {
                let end = base + one.values[day];
                let column = [(day as f64 - 0.4, base), (day as f64 + 0.4, end)];
                chart.draw_series([Rectangle::new(column, one.color.filled())])?;
                base = end;
            }
        }
        Ok(())
    })
}

/// Lines with a dot a day; a day without a value (NaN) is left out.
pub(super) fn lines(labels: &[String], series: &[Series], unit: &dyn Fn(f64) -> String) -> Result<String> {
    let top = series.iter().flat_map(|one| &one.values).copied().filter(|value| value.is_finite()).fold(0.0, f64::max);
    over_days(labels, top, unit, |chart| {
        for one in series {
            let known = || one.values.iter().enumerate().filter(|(_, value)| value.is_finite());
            let points = || known().map(|(day, value)| (day as f64, *value));
            chart.draw_series(LineSeries::new(points(), one.color.stroke_width(2)))?;
            chart.draw_series(points().map(|point| Circle::new(point, 3, one.color.filled())))?;
        }
        Ok(())
    })
}

type Days<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// The axes, and in front of them what `draw` draws.
fn over_days(
    labels: &[String],
    top: f64,
    unit: &dyn Fn(f64) -> String,
    draw: impl FnOnce(&mut Days<'_, '_>) -> Drawn,
) -> Result<String> {
    let mut svg = String::new();
    let drawn = || -> Drawn {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let top = if top > 0.0 { top * 1.08 } else { 1.0 };
        let mut chart = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(24)
            .y_label_area_size(56)
            .build_cartesian_2d(-0.6..labels.len() as f64 - 0.4, 0.0..top)?;
        let text = ("sans-serif", LETTERS).into_font().color(&INK);
        let day = |at: &f64| {
            let whole = (at.fract() == 0.0 && *at >= 0.0).then_some(*at as usize);
            whole.and_then(|day| labels.get(day)).cloned().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_labels(labels.len().min(6))
            .y_labels(5)
            .x_label_formatter(&day)
            .y_label_formatter(&|value| unit(*value))
            .label_style(text)
            .draw()?;
        draw(&mut chart)?;
        root.present()
    };
    drawn().map_err(failed)?;
    Ok(svg)
}

/// A bar across, with its name before and its number behind it.
#[derive(Debug)]
pub(super) struct Bar {
    pub name: String,
    pub value: f64,
    pub told: String,
    pub color: RGBColor,
}

/// Bars across, one below the other; `limit` is a line through all of them.
pub(super) fn across(bars: &[Bar], limit: Option<f64>) -> Result<String> {
    let height = MARGIN * 2 + ROW * u32::try_from(bars.len()).unwrap_or(u32::MAX / ROW / 2);
    let top = bars.iter().map(|bar| bar.value).chain(limit).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(WIDTH) - f64::from(NAMES + NUMBERS);
    let place = |value: f64| NAMES + (value.max(0.0) / top * room) as i32;
    let mut svg = String::new();
    let mut drawn = || -> Drawn {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let text = |side| ("sans-serif", LETTERS).into_font().color(&INK).pos(Pos::new(side, VPos::Center));
        for (at, bar) in (0_u32..).zip(bars) {
            let top = (MARGIN + ROW * at) as i32;
            let middle = top + ROW as i32 / 2;
            root.draw(&Text::new(cut(&bar.name), (NAMES - 8, middle), text(HPos::Right)))?;
            // At least a pixel, so that one can see that there is something.
            let end = place(bar.value).max(NAMES + 1);
            root.draw(&Rectangle::new([(NAMES, top + 4), (end, top + ROW as i32 - 4)], bar.color.filled()))?;
            root.draw(&Text::new(bar.told.clone(), (end + 6, middle), text(HPos::Left)))?;
        }
        if let Some(limit) = limit {
            let at = place(limit);
            root.draw(&PathElement::new([(at, MARGIN as i32), (at, (height - MARGIN) as i32)], INK.stroke_width(1)))?;
        }
        root.present()
    };
    drawn().map_err(failed)?;
    Ok(svg)
}

/// A name that fits before a bar: its beginning and its end, for names that differ in one of them alone.
fn cut(name: &str) -> String {
    const LONGEST: usize = 26;
    let length = name.chars().count();
    if length <= LONGEST {
        return name.to_owned();
    }
    let begin = LONGEST / 2;
    let end = LONGEST - begin - 1;
    name.chars().take(begin).chain(['…']).chain(name.chars().skip(length - end)).collect()
}

fn failed(error: DrawingAreaErrorKind<std::io::Error>) -> Error {
    Error::new(ErrorKind::Internal, format!("report: a picture cannot be drawn: {error}"))
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        assert_eq!(cut("position_history"), "position_history");
        let long = |end: &str| cut(&format!("warehouse_of_position_history_{end}"));
        assert_eq!([long("2025"), long("2026")], ["warehouse_of_…history_2025", "warehouse_of_…history_2026"]);
    }
}
