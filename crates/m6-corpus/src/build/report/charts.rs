//! Histograms as inline SVG.

use std::fmt::Write;

use super::super::stats::Histogram;
use super::escape;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 150.0;
const BOTTOM: f64 = 18.0;
const TOP: f64 = 20.0;

/// Bars of kept records above those of dropped ones, on one scale.
pub(super) fn histogram(histogram: &Histogram) -> String {
    let n_bars = histogram.kept.len().max(1);
    let both = histogram.kept.iter().zip(&histogram.dropped);
    let most = both
        .clone()
        .map(|(kept, dropped)| kept + dropped)
        .max()
        .unwrap_or(1)
        .max(1) as f64;
    let step = WIDTH / n_bars as f64;
    let scale = (HEIGHT - BOTTOM - TOP) / most;
    let mut svg = format!(
        "<svg viewBox='0 0 {WIDTH} {HEIGHT}' width={WIDTH} font-size=11 font-family=system-ui role=img>"
    );
    let _ = write!(
        svg,
        "<text x=0 y=12 fill='#1c2430'>{}</text>",
        escape(&histogram.name)
    );
    let base = HEIGHT - BOTTOM;
    for (at, (kept, dropped)) in both.enumerate() {
        let x = at as f64 * step;
        let (kept, dropped) = (*kept as f64 * scale, *dropped as f64 * scale);
        for (y, height, color) in [
            (base - kept, kept, "#1668b8"),
            (base - kept - dropped, dropped, "#c2410c"),
        ] {
            if height > 0.0 {
                let width = step - 1.0;
                let _ = write!(
                    svg,
                    "<rect x={x:.1} y={y:.1} width={width:.1} height={height:.1} fill='{color}'/>"
                );
            }
        }
    }
    let _ = write!(
        svg,
        "<line x1=0 x2={WIDTH} y1={base} y2={base} stroke='#9aa5b1'/>"
    );
    for (at, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
        let value = match histogram.log {
            true => histogram.low * (histogram.high / histogram.low).powf(at),
            false => histogram.low + (histogram.high - histogram.low) * at,
        };
        let x = WIDTH * at;
        let _ = write!(
            svg,
            "<text x={x} y={:.0} text-anchor={anchor} fill='#5a6777'>{}</text>",
            HEIGHT - 4.0,
            short(value)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// Few digits, whatever the size.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => format!("{:.0}k", value / 1000.0),
        size if size >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stay_inside() {
        let svg = histogram(&Histogram {
            name: "a<b".to_string(),
            log: true,
            low: 1.0,
            high: 10_000.0,
            kept: vec![0, 5, 1],
            dropped: vec![2, 0, 7],
        });
        assert_eq!(svg.matches("<rect").count(), 4);
        assert!(
            svg.contains("a&lt;b") && svg.contains(">100<") && svg.contains(">10k<"),
            "{svg}"
        );
        assert!(!svg.contains("y=-") && !svg.contains("NaN"), "{svg}");
        assert!(histogram(&Histogram::default()).ends_with("</svg>"));
    }
}
