//! Draws how time and memory grow, from what `make bench` measured: `curves bench.json FOLDER`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

type Failure = Box<dyn std::error::Error>;
type Point = BTreeMap<String, f64>;

const SIZE: (u32, u32) = (1000, 420);
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(90, 90, 90),
];

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [json, folder] = words.as_slice() else { return Err("usage: curves bench.json FOLDER".into()) };
    let report: Value = serde_json::from_str(&std::fs::read_to_string(json)?)?;
    let curves = report["curves"].as_object().ok_or("no `curves`")?;
    for (along, points) in curves {
        let points: Vec<Point> = serde_json::from_value(points.clone())?;
        let path = Path::new(folder).join(format!("growth-{along}.svg"));
        let area = SVGBackend::new(&path, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let (time, memory) = area.split_horizontally(SIZE.0 / 2);
        panel(&time, along, "seconds", &series(&points, along, "s"))?;
        panel(&memory, along, "MiB resident, highest", &series(&points, along, "MiB"))?;
        area.present()?;
    }
    Ok(())
}

/// What is counted in `unit`: the columns are called `NAME, UNIT`. The highest where a place was measured twice.
fn series(points: &[Point], along: &str, unit: &str) -> BTreeMap<String, Vec<(f64, f64)>> {
    let names: BTreeSet<&String> = points.iter().flat_map(BTreeMap::keys).collect();
    let named = names.into_iter().filter_map(|name| Some((name, name.strip_suffix(unit)?.strip_suffix(", ")?)));
    named
        .map(|(name, short)| {
            let mut line: Vec<(f64, f64)> =
                points.iter().filter_map(|point| Some((*point.get(along)?, *point.get(name)?))).collect();
            line.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1)));
            line.dedup_by(|later, kept| later.0.total_cmp(&kept.0).is_eq());
            (short.to_owned(), line)
        })
        .collect()
}

fn panel<B: DrawingBackend>(
    area: &DrawingArea<B, plotters::coord::Shift>,
    along: &str,
    what: &str,
    lines: &BTreeMap<String, Vec<(f64, f64)>>,
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let all: Vec<(f64, f64)> = lines.values().flatten().copied().collect();
    if all.is_empty() {
        return Ok(());
    }
    let least = |pick: fn(&(f64, f64)) -> f64| all.iter().map(pick).fold(f64::INFINITY, f64::min);
    let most = |pick: fn(&(f64, f64)) -> f64| all.iter().map(pick).fold(0.0, f64::max);
    let across = (least(|at| at.0) / 1.3..most(|at| at.0) * 1.3).log_scale();
    let up = (least(|at| at.1) / 1.5..most(|at| at.1) * 3.0).log_scale();
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{what}, by number of {along}"), ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(55)
        .build_cartesian_2d(across, up)?;
    let plain = |value: &f64| value.to_string();
    chart
        .configure_mesh()
        .x_desc(along)
        .y_desc(what)
        .x_label_formatter(&plain)
        .y_label_formatter(&plain)
        .light_line_style(WHITE)
        .draw()?;
    for ((name, line), colour) in lines.iter().zip(COLOURS.into_iter().cycle()) {
        chart
            .draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    Ok(())
}
