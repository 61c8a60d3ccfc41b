//! The page of an evaluation.

use super::{ExamArgs, rows};
use crate::error::{OrFail, Result};
use crate::report::Report;
use m6_eval::{Exam, ExamTask, Item, Outcome};
use m6_image::Rgb8;
use m6_train::LoadedModel;
use serde_json::Value;

/// Worst and best answers shown, each.
const N_SHOWN: usize = 12;
/// Longest text of a card, in characters.
const N_CHARS: usize = 240;

type Line = (String, &'static str);

/// The page as HTML.
pub fn write(
    title: &str,
    args: &ExamArgs,
    exam: &Exam,
    outcome: &Outcome,
    loaded: &LoadedModel,
) -> Result<String> {
    let step = loaded
        .step
        .map_or(String::new(), |step| format!(" after {step} updates"));
    let subtitle = format!(
        "{} questions of {}, answered by {}{step}",
        outcome.n,
        args.data,
        loaded.path.display()
    );
    let mut page = Report::new(title, &subtitle);
    scores(&mut page, outcome);
    let order = by_worth(exam.task, outcome);
    let n = N_SHOWN.min(order.len().div_ceil(2));
    for (name, shown) in [
        (
            "Worst answers",
            order.iter().take(n).copied().collect::<Vec<_>>(),
        ),
        (
            "Best answers",
            order.iter().rev().take(n).copied().collect(),
        ),
    ] {
        page.section(name);
        examples(&mut page, exam, outcome, &shown)?;
    }
    page.section("Settings");
    let settings = toml::to_string(&exam.settings).or_usage()?;
    page.code(&settings);
    Ok(page.finish(title))
}

/// The figures in all, then those of parts (`exact/color`), beside the controls, with their intervals.
fn scores(page: &mut Report, outcome: &Outcome) {
    let mut head = vec!["figure", "model", "95 % interval"];
    head.extend(outcome.control.keys().map(String::as_str));
    let with_interval = |row: Vec<String>| {
        let interval = outcome.intervals.get(&row[0]).and_then(Value::as_array);
        let ends: Vec<String> = interval
            .into_iter()
            .flatten()
            .filter_map(Value::as_f64)
            .map(|x| format!("{x:.4}"))
            .collect();
        let mut out = vec![row[0].clone(), row[1].clone(), ends.join(" to ")];
        out.extend_from_slice(&row[2..]);
        out
    };
    let is_part = |row: &Vec<String>| row[0].contains('/');
    let (parts, whole): (Vec<_>, Vec<_>) = rows(outcome)
        .into_iter()
        .map(with_interval)
        .partition(is_part);
    page.section("Scores beside their controls");
    page.text(
        "shuffled: pictures (or answers) of another record; blind: the question alone; chance: a choice at random; majority: always \
         the commonest label; true: the true poems.",
    );
    page.table(&head, &whole);
    if !parts.is_empty() {
        page.section("By type");
        page.table(&head, &parts);
    }
}

/// Numbers of the items, the worst first.
fn by_worth(task: ExamTask, outcome: &Outcome) -> Vec<usize> {
    let worth = |i: usize| {
        let item = &outcome.per_item[i];
        let figure = |name: &str| item[name].as_f64().unwrap_or(0.0);
        match task {
            ExamTask::Caption => figure("cider"),
            ExamTask::Vqa => figure("soft"),
            ExamTask::Qa => figure("f1") + figure("rouge_l"),
            ExamTask::Poem => figure("tones") - figure("copied_lines"),
            ExamTask::Classify => f64::from(u8::from(item["label"] == item["given"])),
        }
    };
    let mut order: Vec<usize> = (0..outcome.per_item.len()).collect();
    order.sort_by(|a, b| worth(*a).total_cmp(&worth(*b)).then(a.cmp(b)));
    order
}

fn examples(page: &mut Report, exam: &Exam, outcome: &Outcome, shown: &[usize]) -> Result<()> {
    let (mut cards, mut rows) = (Vec::new(), Vec::new());
    for &i in shown {
        let (item, said) = (&exam.items.items[i], &outcome.said[i]);
        match picture(item, exam.layout.image_side)? {
            Some(picture) => cards.push((picture, lines(item, said))),
            None => rows.push(
                lines(item, said)
                    .into_iter()
                    .map(|(line, _)| line)
                    .collect(),
            ),
        }
    }
    if !cards.is_empty() {
        page.cards(&cards);
    }
    if !rows.is_empty() {
        page.table(&["asked", "true", "said"], &rows);
    }
    Ok(())
}

/// The first picture of an item.
fn picture(item: &Item, side: usize) -> Result<Option<Rgb8>> {
    match item.pictures.get(..3 * side * side) {
        Some(planes) => Ok(Some(Rgb8::from_chw(side, side, planes).or_usage()?)),
        None => Ok(None),
    }
}

/// Question, true answer and given answer.
fn lines(item: &Item, said: &str) -> Vec<Line> {
    let right = item.answers.iter().any(|answer| answer == said);
    let asked = match &item.passage {
        Some(passage) => format!("{} {}", item.question, cut(passage)),
        None => item.question.clone(),
    };
    let mut lines: Vec<Line> = vec![(cut(&asked), "dim")];
    lines.push((cut(item.answers.first().map_or("", String::as_str)), "dim"));
    lines.push((cut(said), if right { "ok" } else { "" }));
    lines
}

fn cut(text: &str) -> String {
    match text.chars().count() > N_CHARS {
        true => text.chars().take(N_CHARS).chain(['…']).collect(),
        false => text.to_owned(),
    }
}
