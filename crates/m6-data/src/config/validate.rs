//! Every problem of a configuration, found before any work.

use std::collections::BTreeSet;

use super::formats;
use super::{DataConfig, Kind, SourceConfig, TaskOptions};
use crate::error::hint;
use crate::names::NamePattern;
use crate::tasks;

/// Longest side of a stored picture; a guard against slips, not a limit of the format.
const MAX_SIDE: usize = 4096;

/// Most finer codes per side of a code.
const MAX_FINE: usize = 8;

/// All problems, one line each.
pub(super) fn problems(config: &DataConfig) -> Vec<String> {
    let mut out = Vec::new();
    layout(config, &mut out);
    options(&config.tasks, &mut out);
    if config.sources.is_empty() {
        out.push("data.sources is empty; name at least one source".to_string());
    }
    let mut names = BTreeSet::new();
    for source in &config.sources {
        if !names.insert(&source.name) {
            out.push(format!("two sources are called `{}`", source.name));
        }
        one_source(&source.resolved(), &mut out);
    }
    out
}

fn layout(config: &DataConfig, out: &mut Vec<String>) {
    let mut need = |ok: bool, text: String| {
        if !ok {
            out.push(text);
        }
    };
    need(config.grid >= 1, "data.grid must be at least 1".to_string());
    need(
        (1..=MAX_SIDE).contains(&config.image_side),
        format!(
            "data.image_side must be 1 to {MAX_SIDE}, got {}",
            config.image_side
        ),
    );
    need(
        config.grid >= 1 && config.image_side.is_multiple_of(config.grid.max(1)),
        format!(
            "data.image_side = {} must be a multiple of data.grid = {}",
            config.image_side, config.grid
        ),
    );
    let least = config.grid.saturating_mul(config.grid).saturating_add(8);
    need(
        config.row_len >= least && config.row_len <= u32::MAX as usize / 4,
        format!(
            "data.row_len = {} must hold one picture and a few tokens: at least {least}",
            config.row_len
        ),
    );
    need(
        config.max_text >= 2,
        "data.max_text must be at least 2".to_string(),
    );
    need(
        config.max_images >= 1,
        "data.max_images must be at least 1".to_string(),
    );
    need(
        config.codes.fine <= MAX_FINE,
        format!(
            "data.codes.fine = {} must be 0 or between 2 and {MAX_FINE}",
            config.codes.fine
        ),
    );
    share("data.bad_limit", config.bad_limit, out);
}

/// Problems of the noise options, also used by the loader.
pub(crate) fn options(options: &TaskOptions, out: &mut Vec<String>) {
    share("data.tasks.noise_ratio", options.noise_ratio, out);
    share("data.tasks.blind_p", options.blind_p, out);
    share("data.tasks.unconditional_p", options.unconditional_p, out);
    share("data.tasks.hard_negatives", options.hard_negatives, out);
    if !(options.span_mean > 0.0 && options.span_mean <= 100.0) {
        out.push(format!(
            "data.tasks.span_mean must be above 0 and at most 100, got {}",
            options.span_mean
        ));
    }
}

fn share(name: &str, value: f64, out: &mut Vec<String>) {
    if !(0.0..=1.0).contains(&value) {
        out.push(format!("{name} must be from 0 to 1, got {value}"));
    }
}

fn one_source(source: &SourceConfig, out: &mut Vec<String>) {
    let name = &source.name;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(plain) {
        out.push(format!(
            "source name `{name}`: use letters, digits, `-` and `_` (it becomes a folder)"
        ));
    }
    if !(source.weight.is_finite() && source.weight >= 0.0) {
        out.push(format!(
            "source `{name}`: weight must not be negative, got {}",
            source.weight
        ));
    }
    share(&format!("source `{name}`: held_out"), source.held_out, out);
    for (task, weight) in &source.tasks {
        if tasks::index(task).is_none() {
            let near = hint(task, tasks::NAMES.into_iter());
            out.push(format!("source `{name}`: there is no task `{task}`{near}"));
        }
        if !(weight.is_finite() && *weight >= 0.0) {
            out.push(format!(
                "source `{name}`: weight of task `{task}` is {weight}"
            ));
        }
    }
    if source.kind != Kind::World && source.path.is_empty() {
        out.push(format!("source `{name}`: path is missing"));
    }
    if source.kind == Kind::World && source.n == 0 {
        out.push(format!("source `{name}`: n must be at least 1"));
    }
    if source.question.is_some() != source.answer.is_some() {
        out.push(format!("source `{name}`: question and answer go together"));
    }
    for task in ["poem", "classify"] {
        if source.tasks.contains_key(task) && source.answer.is_none() && source.kind != Kind::World
        {
            out.push(format!(
                "source `{name}`: task `{task}` needs question and answer (title and verse, or a question and the label)"
            ));
        }
    }
    if source.tasks.contains_key("poem") && source.tasks.contains_key("classify") {
        out.push(format!(
            "source `{name}`: `poem` and `classify` read the same fields; make two sources of it"
        ));
    }
    if (source.question_kind.is_some() || !source.choices.is_empty()) && source.question.is_none() {
        out.push(format!(
            "source `{name}`: question_kind and choices go with a question"
        ));
    }
    let mapped = !source.text.is_empty() || !source.captions.is_empty() || source.answer.is_some();
    let must_map = matches!(
        source.kind,
        Kind::Jsonl | Kind::Json | Kind::Tsv | Kind::Parquet
    );
    if must_map && !mapped {
        out.push(format!(
            "source `{name}`: name at least one field in text, captions or question and answer"
        ));
    }
    if source.task_weights().values().sum::<f64>() <= 0.0 {
        out.push(format!("source `{name}`: no task has a weight above zero"));
    }
    if let Some(format) = &source.format
        && !formats::names().any(|known| known == format)
    {
        let near = hint(format, formats::names());
        let all = formats::names().collect::<Vec<_>>().join(", ");
        out.push(format!(
            "source `{name}`: there is no format `{format}`{near}; there are: {all}"
        ));
    }
    misplaced(source, out);
}

/// Keys that another kind of source would look at.
fn misplaced(source: &SourceConfig, out: &mut Vec<String>) {
    let name = &source.name;
    let mut only_for = |key: &str, given: bool, kinds: &[Kind], written: &str| {
        if given && !kinds.contains(&source.kind) {
            out.push(format!(
                "source `{name}`: `{key}` is for the kinds {written}"
            ));
        }
    };
    let lists = [Kind::Json, Kind::Jsonl];
    only_for("each", source.each.is_some(), &lists, "json and jsonl");
    only_for("columns", !source.columns.is_empty(), &[Kind::Tsv], "tsv");
    let naming = [Kind::Json, Kind::Jsonl, Kind::Tsv];
    let written = "json, jsonl and tsv";
    only_for("images", !source.images.is_empty(), &naming, written);
    only_for("image_name", source.image_name.is_some(), &naming, written);
    if let Some(pattern) = &source.image_name
        && NamePattern::parse(pattern).is_none()
    {
        out.push(format!(
            "source `{name}`: image_name = `{pattern}` must hold `{{}}` once, or `{{:0N}}` with N up to 64"
        ));
    }
    if source.image.is_empty() && !(source.images.is_empty() && source.image_name.is_none()) {
        out.push(format!(
            "source `{name}`: `image` must say which field names the pictures of `images`"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Fields;

    #[test]
    fn all_problems_come_at_once_and_name_the_nearest_task() {
        let mut source = SourceConfig {
            name: "a/b".to_string(),
            kind: Kind::Jsonl,
            weight: -1.0,
            question: Some("q".to_string()),
            ..SourceConfig::default()
        };
        source.tasks.insert("denoised".to_string(), 1.0);
        let config = DataConfig {
            row_len: 16,
            bad_limit: 2.0,
            sources: vec![source],
            ..DataConfig::default()
        };
        let text = config.validate().join("\n");
        let wanted = [
            "row_len",
            "bad_limit",
            "a/b",
            "weight",
            "path is missing",
            "question and answer",
            "did you mean `denoise`",
        ];
        for part in wanted {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn a_format_is_known_and_keys_stand_where_they_are_read() {
        let source = |change: fn(&mut SourceConfig)| {
            let mut source = SourceConfig {
                name: "s".to_string(),
                path: Fields::from(["x"]),
                ..SourceConfig::default()
            };
            change(&mut source);
            let config = DataConfig {
                sources: vec![source],
                ..DataConfig::default()
            };
            config.validate().join("\n")
        };
        let known = source(|s| s.format = Some("cmrc2018".to_string()));
        assert_eq!(known, "");
        let unknown = source(|s| s.format = Some("cmrc2019".to_string()));
        assert!(
            unknown.contains("did you mean `cmrc2018`") && unknown.contains("muge-t2i"),
            "{unknown}"
        );
        let misplaced = source(|s| {
            s.kind = Kind::Folder;
            s.each = Some("a".to_string());
            s.columns = Fields::from(["a"]);
            s.images = Fields::from(["p"]);
            s.image_name = Some("{:0x}".to_string());
        });
        for part in [
            "`each` is for",
            "`columns` is for",
            "`images` is for",
            "`{:0N}`",
            "`image` must",
        ] {
            assert!(misplaced.contains(part), "{part}: {misplaced}");
        }
    }

    #[test]
    fn a_plain_source_has_no_problem_and_round_trips_through_toml() {
        let config = DataConfig {
            sources: vec![SourceConfig {
                name: "poems".to_string(),
                kind: Kind::Jsonl,
                path: Fields::from(["poetry/*.jsonl"]),
                text: Fields::from(["title", "text"]),
                ..SourceConfig::default()
            }],
            ..DataConfig::default()
        };
        assert_eq!(config.validate(), Vec::<String>::new());
        let text = toml::to_string(&config).expect("serialises");
        let back: DataConfig = toml::from_str(&text).expect("parses");
        assert_eq!(back, config);
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let error = toml::from_str::<DataConfig>("row_length = 5").expect_err("refused");
        assert!(error.to_string().contains("row_length"));
    }
}
