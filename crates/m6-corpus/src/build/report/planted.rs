//! The result beside the planted truth.

use std::fmt::Write;

use super::super::truth::{Comparison, TextScore};
use super::{escape, grouped};

/// Writes the section.
pub(super) fn write(body: &mut String, truth: &Comparison) {
    let _ = write!(
        body,
        "<h2>Beside the planted truth</h2><p>Of {} planted pages: precision of what is kept {:.3}, recall {:.3}.</p><table>\
         <tr><th>planted<th>should be<th class=n>pages<th class=n>kept<th class=n>right<th class=n>share right</tr>",
        grouped(truth.pages),
        truth.precision,
        truth.recall
    );
    for row in &truth.kinds {
        let should = if row.keep { "kept" } else { "dropped" };
        let _ = write!(
            body,
            "<tr><td>{}<td>{should}<td class=n>{}<td class=n>{}<td class=n>{}<td class=n>{:.3}</tr>",
            escape(&row.kind),
            grouped(row.planted),
            grouped(row.kept),
            grouped(row.right),
            row.right as f64 / row.planted.max(1) as f64
        );
    }
    body.push_str("</table><table><tr><th>texts of kept pages<th class=n>pages<th class=n>F1 mean<th class=n>median<th class=n>least</tr>");
    text(body, "all", &truth.text);
    text(body, "with a lying charset", &truth.lying_charset);
    let pictures = &truth.pictures;
    let _ = write!(
        body,
        "</table><p>Content pictures of kept pages: {} planted, {} found, {} of these with the planted caption; {} others found beside \
         them.</p>",
        grouped(pictures.planted),
        grouped(pictures.found),
        grouped(pictures.captioned),
        grouped(pictures.extra)
    );
    if truth.wrong.is_empty() {
        return;
    }
    body.push_str("<h3>Pages that went the wrong way</h3><table><tr><th>address<th>planted<th>what became of it<th>rule</tr>");
    for wrong in &truth.wrong {
        let fate = if wrong.fate.is_empty() {
            "no record"
        } else {
            &wrong.fate
        };
        let (url, kind, rule) = (escape(&wrong.url), escape(&wrong.kind), escape(&wrong.rule));
        let _ = write!(
            body,
            "<tr><td>{url}<td>{kind}<td>{}<td>{rule}</tr>",
            escape(fate)
        );
    }
    body.push_str("</table>");
}

fn text(body: &mut String, name: &str, score: &TextScore) {
    let _ = write!(
        body,
        "<tr><td>{name}<td class=n>{}<td class=n>{:.3}<td class=n>{:.3}<td class=n>{:.3}</tr>",
        grouped(score.n),
        score.f1_mean,
        score.f1_median,
        score.f1_least
    );
}
