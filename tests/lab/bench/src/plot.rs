//! Draws figures as plots in SVG, which are readable on light and on dark pages.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::{
    ChartBuilder, Circle, Color as _, IntoDrawingArea as _, IntoLogRange as _, LineSeries, PathElement, RGBColor,
    SVGBackend, SeriesLabelPosition, WHITE,
};

const SIZE: (u32, u32) = (720, 360);
const COLOURS: [RGBColor; 4] =
    [RGBColor(29, 78, 216), RGBColor(156, 163, 175), RGBColor(180, 83, 9), RGBColor(21, 128, 61)];
const TEXT: RGBColor = RGBColor(31, 41, 55);
const LINES: RGBColor = RGBColor(229, 231, 235);

/// One curve.
pub struct Curve {
    pub name: &'static str,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// How the places from left to right are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Across {
    /// Each ten times as much is as far away.
    Logarithmic,
    /// As numbers are.
    Linear,
}

/// A plot of one or more curves over the same axes.
pub struct Plot {
    pub title: String,
    pub across: &'static str,
    pub scale: Across,
    pub up: &'static str,
    pub curves: Vec<Curve>,
}

impl Plot {
    /// Writes it to a file.
    pub fn write(&self, file: &Path) -> Result<()> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let least = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
        let most = points().map(|(x, _)| *x).fold(f64::NEG_INFINITY, f64::max);
        let highest = points().map(|(_, y)| *y).fold(0.0, f64::max) * 1.15;
        self.draw(file, [least, most], highest).map_err(|error| anyhow!("drawing {}: {error}", file.display()))
    }

    fn draw(&self, file: &Path, [least, most]: [f64; 2], highest: f64) -> Result<(), Box<dyn std::error::Error>> {
        let root = SVGBackend::new(file, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut builder = ChartBuilder::on(&root);
        builder.caption(&self.title, ("sans-serif", 16, &TEXT)).x_label_area_size(42).y_label_area_size(72);
        // Half of the last label is beyond the end of its axis.
        builder.margin(16).margin_right(40);
        // The two kinds of axes are two types.
        macro_rules! chart {
            ($across:expr) => {{
                let mut chart = builder.build_cartesian_2d($across, 0.0..highest)?;
                let across = |value: &f64| crate::report::number(*value);
                let up = |value: &f64| {
                    if highest < 20.0 { format!("{value:.1}") } else { crate::report::number(*value) }
                };
                chart
                    .configure_mesh()
                    .axis_style(TEXT)
                    .bold_line_style(LINES)
                    .light_line_style(WHITE)
                    .x_desc(self.across)
                    .y_desc(self.up)
                    .x_label_formatter(&across)
                    .y_label_formatter(&up)
                    .x_labels(self.curves.first().map_or(2, |curve| curve.points.len()))
                    .label_style(("sans-serif", 13, &TEXT))
                    .draw()?;
                for (curve, colour) in self.curves.iter().zip(COLOURS) {
                    chart
                        .draw_series(LineSeries::new(curve.points.iter().copied(), colour.stroke_width(2)))?
                        .label(curve.name)
                        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
                    chart.draw_series(curve.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
                }
                chart
                    .configure_series_labels()
                    .position(SeriesLabelPosition::LowerRight)
                    .label_font(("sans-serif", 13, &TEXT))
                    .background_style(WHITE)
                    .border_style(LINES)
                    .draw()?;
            }};
        }
        match self.scale {
            Across::Logarithmic => chart!((least..most).log_scale()),
            Across::Linear => chart!(least..most),
        }
        root.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_curve_and_every_word_is_drawn() {
        let folder = tempfile::tempdir().unwrap();
        for scale in [Across::Logarithmic, Across::Linear] {
            let file = folder.path().join("plot.svg");
            let curve =
                |name, factor: f64| Curve { name, points: vec![(1.0, factor), (10.0, 2.0 * factor), (100.0, factor)] };
            let plot = Plot {
                title: "A title".to_owned(),
                across: "what is across",
                scale,
                up: "what is up",
                curves: vec![curve("one", 1.0), curve("another", 3.0)],
            };
            plot.write(&file).unwrap();
            let svg = std::fs::read_to_string(&file).unwrap();
            for word in ["A title", "what is across", "what is up", "one", "another"] {
                assert!(svg.contains(word), "{word}: {svg}");
            }
            assert_eq!((svg.matches("<circle").count(), svg.matches("<polyline").count() >= 2), (6, true), "{svg}");
        }
    }
}
