//! Controls: the same scores for answers that cannot know, or that need not learn.

use super::sit::{Exam, figures, measure};
use super::speak::Sight;
use super::{ExamError, ExamTask, Item};
use crate::Training;
use serde_json::{Map, Value, json};

/// Says all items once more under other sights.
type Say<'a> = dyn FnMut(&[Sight<'_>]) -> Result<Vec<String>, ExamError> + 'a;

/// Rounds in which the model speaks once more.
pub(super) fn n_rounds(exam: &Exam) -> usize {
    usize::from(says_shuffled(exam)) + usize::from(says_blind(exam))
}

fn has_pictures(exam: &Exam) -> bool {
    exam.items
        .items
        .iter()
        .any(|item| !item.pictures.is_empty())
}

/// Whether questions are asked again beside the pictures of another record; captions need not be written again for that.
fn says_shuffled(exam: &Exam) -> bool {
    matches!(exam.task, ExamTask::Vqa | ExamTask::Classify) && has_pictures(exam)
}

/// Whether questions are asked again without picture or passage.
fn says_blind(exam: &Exam) -> bool {
    let has_passage = exam.items.items.iter().any(|item| item.passage.is_some());
    match exam.task {
        ExamTask::Vqa => true,
        ExamTask::Qa => has_passage,
        _ => false,
    }
}

/// Figures of every control of the task, by name:
///
/// - `shuffled`: the pictures (or, without pictures, what was said) of the next record;
/// - `blind`: the question alone;
/// - `chance`: a choice at random, where all questions are choices;
/// - `majority`: always the commonest label;
/// - `true`: the true poems of the same titles.
pub(super) fn run(
    exam: &Exam,
    said: &[String],
    references: &[u8],
    training: Option<&Training>,
    say: &mut Say<'_>,
) -> Result<Map<String, Value>, ExamError> {
    let items = exam.items.items.as_slice();
    let mut out = Map::new();
    let mut add = |name: &str, said: &[String]| -> Result<(), ExamError> {
        let candidates = exam.candidates(said, &[]);
        let measured = measure(exam.task, references, &candidates, training)?;
        let mut found = figures(&measured);
        found.retain(|_, value| !value.is_null());
        out.insert(name.to_owned(), Value::Object(found));
        Ok(())
    };
    let others: Vec<usize> = (0..items.len()).map(|i| other(items, i)).collect();
    if says_shuffled(exam) {
        let sights: Vec<Sight<'_>> = others.iter().map(|&i| Sight::Other(&items[i])).collect();
        add("shuffled", &say(&sights)?)?;
    } else if exam.task != ExamTask::Poem {
        let moved: Vec<String> = others.iter().map(|&i| said[i].clone()).collect();
        add("shuffled", &moved)?;
    }
    if says_blind(exam) {
        add("blind", &say(&vec![Sight::Blind; items.len()])?)?;
    }
    if exam.task == ExamTask::Classify
        && let Some((label, _)) = commonest(exam)
    {
        add("majority", &vec![label.clone(); items.len()])?;
    }
    if exam.task == ExamTask::Poem {
        let verses: Vec<String> = items.iter().map(|item| item.answers.concat()).collect();
        add("true", &verses)?;
    }
    if exam.task == ExamTask::Vqa && items.iter().all(|item| !item.choices.is_empty()) {
        let share: f64 = items
            .iter()
            .map(|item| 1.0 / item.choices.len() as f64)
            .sum();
        out.insert(
            "chance".to_owned(),
            json!({"exact": share / items.len() as f64}),
        );
    }
    Ok(out)
}

/// The commonest label of the data, the first in order among equals.
fn commonest(exam: &Exam) -> Option<(&String, &usize)> {
    exam.items.labels.iter().rev().max_by_key(|(_, n)| **n)
}

/// The first item behind item `i`, round and round, that is of another record; itself when there is none.
fn other(items: &[Item], i: usize) -> usize {
    let n = items.len();
    let behind = (1..n).map(|k| (i + k) % n);
    let mut others = behind.filter(|&j| items[j].record != items[i].record);
    others.next().unwrap_or(i)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_take_the_next_record_not_the_next_question() {
        let item = |record| Item {
            record,
            ..Item::default()
        };
        let items = [item(0), item(0), item(1), item(2), item(2)];
        let others: Vec<usize> = (0..5).map(|i| other(&items, i)).collect();
        assert_eq!(others, [2, 2, 3, 0, 0]);
        assert_eq!(other(&items[..2], 1), 1, "one record has no other");
    }
}
