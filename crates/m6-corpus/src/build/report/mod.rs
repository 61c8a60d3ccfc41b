//! `report.html`: one self-contained page without scripts, fonts or addresses outside the file.

mod charts;
mod gallery;
mod planted;

use std::fmt::Write;

use super::config::Config;
use super::context::Made;
use super::stats::Stats;
use crate::Result;

const STYLE: &str = "body{font:15px/1.5 system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;max-width:1120px;margin:2em auto;\
padding:0 1em;color:#1c2430;background:#fff}h1{font-size:1.7em;margin-bottom:.1em}h2{margin-top:1.8em;border-bottom:1px solid #dde3ea;\
padding-bottom:.2em}h3{margin:1.2em 0 .3em;font-size:1.05em}table{border-collapse:collapse;margin:.6em 0}td,th{padding:.25em .8em;\
border-bottom:1px solid #e6ebf0;text-align:left;vertical-align:top}th{color:#5a6777;font-weight:600}td.n,th.n{text-align:right;white-space:nowrap;\
font-variant-numeric:tabular-nums}tr.t td{font-weight:600;border-top:2px solid #dde3ea}.bar{display:inline-block;height:.7em;\
background:#1668b8;border-radius:2px}.bar.no{background:#c2410c}.dim{color:#5a6777}.grid{display:grid;gap:14px;\
grid-template-columns:repeat(auto-fill,minmax(240px,1fr))}.card{border:1px solid #dde3ea;border-radius:8px;padding:10px;font-size:13.5px;\
overflow-wrap:anywhere}.grid td{overflow-wrap:anywhere}.grid>div{min-width:0}.card img{max-width:128px;max-height:128px;border-radius:4px;display:block;margin-bottom:6px}svg{max-width:100%;\
height:auto}";

/// The page.
///
/// # Errors
/// Examples that cannot be read.
pub fn page(config: &Config, stats: &Stats, written: &[Made], seen: &[Made]) -> Result<String> {
    let mut body = String::new();
    let read = stats.records.get("read").copied().unwrap_or(0);
    let kept = stats.records.get("kept").copied().unwrap_or(0);
    let _ = write!(
        body,
        "<h1>Corpus report</h1><p class=dim>{} of {} records kept, from {} sources. Every step of every record is in \
         <code>ledger/</code>; <code>m6 corpus why ID DIR</code> tells one record's life.</p>",
        grouped(kept),
        grouped(read),
        config.sources.len()
    );
    paper_table(&mut body, stats);
    sources(&mut body, config, stats);
    funnel(&mut body, stats);
    if let Some(truth) = &stats.truth {
        planted::write(&mut body, truth);
    }
    histograms(&mut body, stats);
    body.push_str("<h2>Charsets, languages, hosts</h2><div class=grid>");
    for (title, counts) in [
        ("Charsets", &stats.charsets),
        ("Languages", &stats.languages),
        ("Splits", &stats.splits),
    ] {
        let mut rows: Vec<(String, u64)> =
            counts.iter().map(|(name, n)| (name.clone(), *n)).collect();
        rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counted(&mut body, title, &rows);
    }
    let hosts = format!("Hosts ({})", grouped(stats.hosts.count));
    counted(&mut body, &hosts, &stats.hosts.top);
    let sizes: Vec<(String, u64)> = stats
        .clusters
        .iter()
        .map(|(size, n)| (format!("of {size}"), *n))
        .collect();
    counted(&mut body, "Duplicate clusters", &sizes);
    body.push_str("</div>");
    gallery::write(&mut body, written, seen)?;
    times(&mut body, stats);
    Ok(format!(
        "<!doctype html><html lang=zh><meta charset=utf-8><meta name=viewport content='width=device-width'>\
         <title>Corpus report</title><style>{STYLE}</style><body>{body}</body></html>\n"
    ))
}

fn paper_table(body: &mut String, stats: &Stats) {
    body.push_str(
        "<h2>What there is</h2><p class=dim>The columns of the paper's table (section 1.1). A token is a Chinese \
         character, a mark, or a run of other letters or digits.</p><table><tr><th>source<th>modality<th class=n>images<th class=n>tokens<th class=n>passages\
         <th class=n>avg length</tr>",
    );
    for (at, row) in stats.table.iter().enumerate() {
        let class = if at + 1 == stats.table.len() {
            " class=t"
        } else {
            ""
        };
        let images = if row.images == 0 {
            "–".to_string()
        } else {
            grouped(row.images)
        };
        let _ = write!(
            body,
            "<tr{class}><td>{}<td>{}<td class=n>{images}<td class=n>{}<td class=n>{}<td class=n>{:.1}</tr>",
            escape(&row.source),
            escape(&row.modality),
            grouped(row.tokens),
            grouped(row.passages),
            row.avg_length
        );
    }
    body.push_str("</table>");
}

fn sources(body: &mut String, config: &Config, stats: &Stats) {
    body.push_str(
        "<h2>Sources</h2><table><tr><th>name<th>licence<th class=n>read<th class=n>kept<th class=n>dropped<th class=n>refused\
         <th class=n>skipped<th class=n>damaged</tr>",
    );
    for source in &config.sources {
        let counts = stats.sources.get(&source.name);
        let _ = write!(
            body,
            "<tr><td>{}<td>{}",
            escape(&source.name),
            escape(&source.licence)
        );
        for word in ["read", "kept", "dropped", "refused", "skipped", "damaged"] {
            let n = counts
                .and_then(|counts| counts.get(word))
                .copied()
                .unwrap_or(0);
            let _ = write!(body, "<td class=n>{}", grouped(n));
        }
        body.push_str("</tr>");
    }
    body.push_str("</table>");
}

fn funnel(body: &mut String, stats: &Stats) {
    body.push_str(
        "<h2>Funnel</h2><table><tr><th>stage<th>verdict<th>rule<th class=n>count<th></tr>",
    );
    let most = stats
        .funnel
        .iter()
        .map(|row| row.count)
        .max()
        .unwrap_or(1)
        .max(1);
    for row in &stats.funnel {
        let width = (220.0 * row.count as f64 / most as f64).ceil();
        let class = match row.verdict.as_str() {
            "drop" | "refused" | "damaged" | "missing" => "bar no",
            _ => "bar",
        };
        let _ = write!(
            body,
            "<tr><td>{}<td>{}<td>{}<td class=n>{}<td><span class='{class}' style='width:{width}px'></span></tr>",
            escape(&row.stage),
            escape(&row.verdict),
            escape(&row.rule),
            grouped(row.count)
        );
    }
    body.push_str("</table>");
}

fn histograms(body: &mut String, stats: &Stats) {
    if stats.histograms.is_empty() {
        return;
    }
    body.push_str(
        "<h2>What texts are like</h2><p class=dim>Blue: kept. Orange: dropped.</p><div class=grid>",
    );
    for histogram in &stats.histograms {
        let _ = write!(body, "<div>{}</div>", charts::histogram(histogram));
    }
    body.push_str("</div>");
}

fn counted(body: &mut String, title: &str, rows: &[(String, u64)]) {
    if rows.is_empty() {
        return;
    }
    let _ = write!(body, "<div><h3>{}</h3><table>", escape(title));
    for (name, n) in rows {
        let _ = write!(
            body,
            "<tr><td>{}<td class=n>{}</tr>",
            escape(name),
            grouped(*n)
        );
    }
    body.push_str("</table></div>");
}

fn times(body: &mut String, stats: &Stats) {
    body.push_str(
        "<h2>Cost</h2><p class=dim>Seconds of each stage when its results were made, over all runs; what was found again cost \
         nothing.</p><table><tr><th>stage<th class=n>results<th class=n>seconds<th class=n>records/s<th class=n>MB/s</tr>",
    );
    for row in &stats.times {
        let rate = |amount: f64| match row.seconds > 0.0 && amount > 0.0 {
            true => format!("{:.1}", amount / row.seconds),
            false => "–".to_string(),
        };
        let _ = write!(
            body,
            "<tr><td>{}<td class=n>{}<td class=n>{:.2}<td class=n>{}<td class=n>{}</tr>",
            escape(&row.stage),
            row.results,
            row.seconds,
            rate(row.records as f64),
            rate(row.bytes as f64 / 1e6)
        );
    }
    let seconds: f64 = stats.times.iter().map(|row| row.seconds).sum();
    let read: u64 = stats.times.iter().map(|row| row.bytes).sum();
    let _ = write!(
        body,
        "<tr class=t><td>Total<td class=n><td class=n>{seconds:.2}<td class=n>{:.1}<td class=n>{:.1}</tr></table>",
        stats.records.get("read").copied().unwrap_or(0) as f64 / seconds.max(f64::MIN_POSITIVE),
        read as f64 / 1e6 / seconds.max(f64::MIN_POSITIVE)
    );
}

/// A number with thin spaces between its groups of three digits.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out
}

/// Text as HTML; control characters and direction marks, with which a text could disturb the page, are left out.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() && c != '\n' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::config::SourceConfig;
    use crate::build::stats::{FunnelRow, TableRow};

    #[test]
    fn numbers_are_grouped() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1\u{2009}000"),
            (1_234_567, "1\u{2009}234\u{2009}567"),
        ] {
            assert_eq!(grouped(n), text);
        }
    }

    #[test]
    fn nothing_from_outside_becomes_markup_or_an_address() {
        let nasty = "<script>alert(1)</script>\u{202e}\0";
        let config = Config {
            sources: vec![SourceConfig {
                name: nasty.to_string(),
                licence: nasty.to_string(),
                ..SourceConfig::default()
            }],
            ..Config::default()
        };
        let stats = Stats {
            table: vec![TableRow {
                source: nasty.to_string(),
                ..TableRow::default()
            }],
            funnel: vec![FunnelRow {
                rule: nasty.to_string(),
                ..FunnelRow::default()
            }],
            ..Stats::default()
        };
        let page = page(&config, &stats, &[], &[]).expect("no example to read");
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"));
        assert!(!page.contains('\u{202e}') && !page.contains('\0'));
        for word in ["http://", "https://", "src='//", "@import"] {
            assert!(!page.contains(word), "{word}");
        }
    }
}
