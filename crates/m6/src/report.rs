//! `report.html`: one self-contained page of a run. No script, no font, no address outside the file.

use m6_image::Rgb8;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;max-width:1080px;margin:2em auto;padding:0 1em;color:#1c2430;background:#fff}\
h1{font-size:1.7em;margin-bottom:.1em}h2{margin-top:1.8em;border-bottom:1px solid #dde3ea;padding-bottom:.2em}\
table{border-collapse:collapse;margin:.6em 0}td,th{padding:.25em .8em;border-bottom:1px solid #e6ebf0;text-align:left}th{color:#5a6777;font-weight:600}\
td.n{text-align:right;font-variant-numeric:tabular-nums}.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(235px,1fr));gap:14px}\
.card{border:1px solid #dde3ea;border-radius:8px;padding:10px;font-size:14px}.card img{width:128px;height:128px;image-rendering:pixelated;border-radius:4px;display:block;margin-bottom:6px}\
.ok{color:#14713d}.no{color:#b3261e}.dim{color:#5a6777}pre{background:#f4f6f8;padding:.8em;border-radius:6px;overflow:auto}svg{max-width:100%;height:auto}";

/// The page under construction.
pub struct Report {
    body: String,
}

impl Report {
    /// A page with a title and a line below it.
    pub fn new(title: &str, subtitle: &str) -> Self {
        let mut body = String::new();
        let _ = write!(
            body,
            "<h1>{}</h1><p class=dim>{}</p>",
            escape(title),
            escape(subtitle)
        );
        Self { body }
    }

    /// A section heading.
    pub fn section(&mut self, title: &str) {
        let _ = write!(self.body, "<h2>{}</h2>", escape(title));
    }

    /// A paragraph.
    pub fn text(&mut self, text: &str) {
        let _ = write!(self.body, "<p>{}</p>", escape(text));
    }

    /// Preformatted text.
    pub fn code(&mut self, text: &str) {
        let _ = write!(self.body, "<pre>{}</pre>", escape(text));
    }

    /// A table; cells that are numbers stand to the right.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        self.body.push_str("<table><tr>");
        for cell in head {
            let _ = write!(self.body, "<th>{}</th>", escape(cell));
        }
        self.body.push_str("</tr>");
        for row in rows {
            self.body.push_str("<tr>");
            for cell in row {
                let class = if cell
                    .trim_end_matches(['%', 's'])
                    .trim()
                    .parse::<f64>()
                    .is_ok()
                {
                    " class=n"
                } else {
                    ""
                };
                let _ = write!(self.body, "<td{class}>{}</td>", escape(cell));
            }
            self.body.push_str("</tr>");
        }
        self.body.push_str("</table>");
    }

    /// Loss curves, one a name, smoothed by an exponential mean; the axis below is the step.
    pub fn curves(&mut self, curves: &BTreeMap<String, Vec<(f64, f64)>>) {
        self.body.push_str(&chart(curves));
    }

    /// Rows of squares over time, one row a name: how far each value is from 1, white at 0, blue at 1, red at 2 and above.
    pub fn heat_map(&mut self, first_step: f64, last_step: f64, rows: &[(String, Vec<f64>)]) {
        self.body.push_str(&heat_map(first_step, last_step, rows));
    }

    /// Cards of a picture and lines about it; a line is (text, class) with class "", "ok", "no" or "dim".
    pub fn cards(&mut self, cards: &[(Rgb8, Vec<(String, &str)>)]) {
        self.body.push_str("<div class=cards>");
        for (picture, lines) in cards {
            let uri = m6_image::png_data_uri(picture);
            let _ = write!(self.body, "<div class=card><img alt='' src=\"{uri}\">");
            for (line, class) in lines {
                let _ = write!(self.body, "<div class=\"{class}\">{}</div>", escape(line));
            }
            self.body.push_str("</div>");
        }
        self.body.push_str("</div>");
    }

    /// The finished page.
    pub fn finish(self, title: &str) -> String {
        format!(
            "<!doctype html><html lang=zh><meta charset=utf-8><meta name=viewport content='width=device-width'>\
             <title>{}</title><style>{STYLE}</style><body>{}</body></html>\n",
            escape(title),
            self.body
        )
    }
}

/// Text as HTML.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The loss curves of `metrics.jsonl`: `loss` and every `loss/<task>`.
pub fn loss_curves(metrics: &str) -> BTreeMap<String, Vec<(f64, f64)>> {
    curves_of(metrics, |key| key == "loss" || key.starts_with("loss/"))
}

/// The curves of `metrics.jsonl` whose names are wanted, as (step, value).
pub fn curves_of(
    metrics: &str,
    wanted: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<(f64, f64)>> {
    let mut curves: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for row in metrics
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        let (Some(step), Some(fields)) = (row["step"].as_f64(), row.as_object()) else {
            continue;
        };
        for (key, value) in fields {
            if let (true, Some(value)) = (wanted(key), value.as_f64()) {
                curves.entry(key.clone()).or_default().push((step, value));
            }
        }
    }
    curves
}

const COLORS: [&str; 7] = [
    "#1c2430", "#1668b8", "#c2410c", "#14713d", "#8e24aa", "#b58900", "#00838f",
];

fn chart(curves: &BTreeMap<String, Vec<(f64, f64)>>) -> String {
    let (width, height, left, bottom) = (900.0, 320.0, 50.0, 30.0);
    let points = || curves.values().flatten();
    let x_max = points().map(|p| p.0).fold(1.0, f64::max);
    let y_max = points().map(|p| p.1).fold(0.1, f64::max) * 1.05;
    let x = |v: f64| left + (width - left - 160.0) * v / x_max;
    let y = |v: f64| (height - bottom) - (height - bottom - 10.0) * v / y_max;
    let mut svg =
        format!("<svg viewBox='0 0 {width} {height}' font-size=12 font-family=system-ui>");
    for i in 0..=4 {
        let (v, s) = (y_max * f64::from(i) / 4.0, x_max * f64::from(i) / 4.0);
        let _ = write!(
            svg,
            "<line x1={left} x2={} y1={y0:.1} y2={y0:.1} stroke='#e6ebf0'/><text x={} y={:.1} text-anchor=end fill='#5a6777'>{v:.1}</text>\
             <text x={:.1} y={} text-anchor=middle fill='#5a6777'>{s:.0}</text>",
            width - 160.0,
            left - 8.0,
            y(v) + 4.0,
            x(s),
            height - 8.0,
            y0 = y(v),
        );
    }
    for (i, (name, points)) in curves.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        let path: Vec<String> = smooth(points)
            .iter()
            .map(|(s, v)| format!("{:.1},{:.1}", x(*s), y(*v)))
            .collect();
        let _ = write!(
            svg,
            "<polyline fill=none stroke='{color}' stroke-width=1.8 points='{}'/><text x={} y={} fill='{color}'>{}</text>",
            path.join(" "),
            width - 150.0,
            24 + 18 * i,
            escape(name)
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A row of a heat map, in units of the picture.
const HEAT_ROW: usize = 14;

fn heat_map(first_step: f64, last_step: f64, rows: &[(String, Vec<f64>)]) -> String {
    let (left, width) = (60.0, 900.0);
    let height = HEAT_ROW * rows.len() + 24;
    let mut svg =
        format!("<svg viewBox='0 0 {width} {height}' font-size=11 font-family=system-ui>");
    for (i, (name, values)) in rows.iter().enumerate() {
        let (y, cell) = (HEAT_ROW * i, (width - left) / values.len().max(1) as f64);
        let _ = write!(
            svg,
            "<text x={} y={} text-anchor=end fill='#5a6777'>{}</text>",
            left - 6.0,
            y + HEAT_ROW - 3,
            escape(name)
        );
        for (j, value) in values.iter().enumerate() {
            let x = left + cell * j as f64;
            let _ = write!(
                svg,
                "<rect x={x:.1} y={y} width={:.1} height={} fill='{}'><title>{} {value:.2}</title></rect>",
                cell + 0.2,
                HEAT_ROW - 1,
                heat(*value),
                escape(name)
            );
        }
    }
    let _ = write!(
        svg,
        "<text x={left} y={0} fill='#5a6777'>{first_step:.0}</text><text x={width} y={0} text-anchor=end fill='#5a6777'>{last_step:.0}</text></svg>",
        height - 8
    );
    svg
}

/// White at 0, blue at 1, red at 2 and above.
fn heat(value: f64) -> String {
    let (white, blue, red) = (
        [255.0, 255.0, 255.0],
        [22.0, 104.0, 184.0],
        [179.0, 38.0, 30.0],
    );
    let value = if value.is_finite() {
        value.clamp(0.0, 2.0)
    } else {
        2.0
    };
    let (from, to, share) = match value <= 1.0 {
        true => (white, blue, value),
        false => (blue, red, value - 1.0),
    };
    let mix = |i: usize| (from[i] + (to[i] - from[i]) * share).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(0), mix(1), mix(2))
}

/// Loads of experts over a run, from the lines of `metrics.jsonl` that have some: of each block the first and last step, and for each
/// expert (or some neighbours together, where there are more than `most_rows`) its share of the tokens relative to an even one, mean
/// over at most `most_columns` stretches of the run.
pub fn expert_loads(
    metrics: &str,
    most_rows: usize,
    most_columns: usize,
) -> BTreeMap<usize, (f64, f64, Vec<(String, Vec<f64>)>)> {
    let mut seen: BTreeMap<usize, Vec<(f64, Vec<f64>)>> = BTreeMap::new();
    let lines = metrics.lines();
    for row in lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (Some(step), Some(fields)) = (row["step"].as_f64(), row.as_object()) else {
            continue;
        };
        for (key, value) in fields {
            let layer = key.strip_prefix("moe/load/").and_then(|n| n.parse().ok());
            let (Some(layer), Some(load)) = (layer, value.as_array()) else {
                continue;
            };
            let load: Vec<f64> = load.iter().filter_map(Value::as_f64).collect();
            let total: f64 = load.iter().sum();
            if total > 0.0 {
                let even = total / load.len() as f64;
                let relative = load.iter().map(|n| n / even).collect();
                seen.entry(layer).or_default().push((step, relative));
            }
        }
    }
    let maps = seen.into_iter().map(|(layer, steps)| {
        let n_experts = steps.iter().map(|(_, load)| load.len()).min().unwrap_or(0);
        let stretch = steps.len().div_ceil(most_columns.max(1)).max(1);
        let group = n_experts.div_ceil(most_rows.max(1)).max(1);
        let rows = (0..n_experts).step_by(group).map(|first| {
            let last = n_experts.min(first + group);
            let name = match last - first {
                1 => format!("{first}"),
                _ => format!("{first}-{}", last - 1),
            };
            let mean = |steps: &[(f64, Vec<f64>)]| {
                let all = steps.iter().flat_map(|(_, load)| &load[first..last]);
                all.sum::<f64>() / (steps.len() * (last - first)) as f64
            };
            (name, steps.chunks(stretch).map(mean).collect())
        });
        let (from, to) = (steps[0].0, steps[steps.len() - 1].0);
        (layer, (from, to, rows.collect()))
    });
    maps.collect()
}

fn smooth(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let keep = (points.len() / 400).max(1);
    let mut mean = points.first().map_or(0.0, |p| p.1);
    let mut line = Vec::new();
    for (i, (step, value)) in points.iter().enumerate() {
        mean = 0.9 * mean + 0.1 * value;
        if i % keep == 0 || i + 1 == points.len() {
            line.push((*step, mean));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let mut report = Report::new("<b>", "a & b");
        report.table(&["x"], &[vec!["<script>".into()]]);
        let page = report.finish("t");
        assert!(
            !page.contains("<script>")
                && page.contains("&lt;script&gt;")
                && page.contains("a &amp; b")
        );
    }

    #[test]
    fn loads_are_relative_to_an_even_share_and_grouped_when_there_are_many() {
        let metrics = "{\"step\":1,\"moe/load/1\":[6,2]}\n{\"step\":2,\"loss\":1.0}\n{\"step\":3,\"moe/load/1\":[2,6],\"moe/load/3\":[0,0]}\n{\"st";
        let loads = expert_loads(metrics, 2, 2);
        let (from, to, rows) = &loads[&1];
        assert_eq!((*from, *to, loads.len()), (1.0, 3.0, 1));
        assert_eq!(rows[0], ("0".to_string(), vec![1.5, 0.5]));
        assert_eq!(
            expert_loads(metrics, 1, 1)[&1].2,
            [("0-1".to_string(), vec![1.0])]
        );
        assert_eq!(heat_map(1.0, 3.0, rows).matches("<rect").count(), 4);
        assert_eq!(
            (heat(0.0), heat(9.0)),
            ("#ffffff".to_string(), "#b3261e".to_string())
        );
    }

    #[test]
    fn curves_are_read_by_name_and_torn_lines_passed_over() {
        let metrics = "{\"step\":1,\"loss\":2.0,\"loss/lm\":3.0,\"lr\":1.0}\n{\"step\":2,\"loss\":1.0}\n{\"st";
        let curves = loss_curves(metrics);
        assert_eq!(curves["loss"], [(1.0, 2.0), (2.0, 1.0)]);
        assert_eq!(curves["loss/lm"], [(1.0, 3.0)]);
        assert!(!curves.contains_key("lr"));
        assert!(chart(&curves).matches("<polyline").count() == 2);
    }
}
