//! Every problem of a configuration, found before any work.

use std::collections::BTreeSet;

use super::{Config, SourceConfig};
use crate::build::adapt;

/// Least memory a build can be told to keep to, in MiB.
const MIN_MEMORY_MB: u64 = 256;
/// Largest side of a stored picture; a guard against slips.
const MAX_SIDE: u32 = 4096;

/// All problems, one line each.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let mut out = Vec::new();
    numbers(config, &mut out);
    if config.sources.is_empty() {
        out.push("corpus.sources is empty; name at least one source".to_string());
    }
    let mut names = BTreeSet::new();
    for source in &config.sources {
        if !names.insert(&source.name) {
            out.push(format!("two sources are called `{}`", source.name));
        }
        one_source(source, &mut out);
    }
    if let Err(problem) = adapt::normalize::Cleaner::new(&config.normalize) {
        out.push(format!("corpus.normalize: {problem}"));
    }
    let packs = config
        .sources
        .iter()
        .filter_map(|source| source.pack.as_ref());
    let packs: BTreeSet<&String> = packs
        .chain([&config.rules.pack, &config.rules.pairs])
        .collect();
    out.extend(adapt::rules::problems(&packs));
    out
}

fn numbers(config: &Config, out: &mut Vec<String>) {
    let mut need = |ok: bool, text: String| {
        if !ok {
            out.push(text);
        }
    };
    let share = |value: f64| (0.0..=1.0).contains(&value);
    need(
        config.memory_mb >= MIN_MEMORY_MB,
        format!(
            "corpus.memory_mb must be at least {MIN_MEMORY_MB}, got {}",
            config.memory_mb
        ),
    );
    need(
        (1..=1 << 20).contains(&config.shard_mb),
        format!(
            "corpus.shard_mb must be 1 to 1048576, got {}",
            config.shard_mb
        ),
    );
    for (name, value) in [
        ("corpus.bad_limit", config.bad_limit),
        ("corpus.mix.held_out", config.mix.held_out),
    ] {
        need(
            share(value),
            format!("{name} must be from 0 to 1, got {value}"),
        );
    }
    let threshold = config.dedup.threshold;
    need(
        (0.3..=1.0).contains(&threshold),
        format!("corpus.dedup.threshold must be from 0.3 to 1, got {threshold}"),
    );
    let copy = &config.pictures.copy;
    need(
        (1..=MAX_SIDE).contains(&copy.side),
        format!(
            "corpus.pictures.copy.side must be 1 to {MAX_SIDE}, got {}",
            copy.side
        ),
    );
    let rules = &config.pictures.rules;
    for (name, value) in [
        ("min_white_border", rules.min_white_border),
        ("min_white_share", rules.min_white_share),
        ("max_text_share", rules.max_text_share),
    ] {
        need(
            value.is_none_or(share),
            format!("corpus.pictures.rules.{name} must be from 0 to 1, got {value:?}"),
        );
    }
    need(
        (1..=100).contains(&copy.quality),
        format!(
            "corpus.pictures.copy.quality must be 1 to 100, got {}",
            copy.quality
        ),
    );
}

fn one_source(source: &SourceConfig, out: &mut Vec<String>) {
    let name = &source.name;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(plain) {
        out.push(format!(
            "source name `{name}`: use letters, digits, `-` and `_` (it becomes a folder)"
        ));
    }
    if source.path.is_empty() {
        out.push(format!("source `{name}`: path is missing"));
    }
    if source.modality.is_empty() {
        out.push(format!(
            "source `{name}`: modality is empty; use \"text\", \"pairs\" or \"documents\""
        ));
    }
    if !(source.weight.is_finite() && source.weight >= 0.0) {
        out.push(format!(
            "source `{name}`: weight must not be negative, got {}",
            source.weight
        ));
    }
    if let Err(problem) = adapt::sources::check(source) {
        out.push(problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::config::{Form, Paths};

    fn source(name: &str) -> SourceConfig {
        SourceConfig {
            name: name.to_string(),
            kind: Form::Archive,
            path: Paths::from(["x.warc.gz"]),
            ..SourceConfig::default()
        }
    }

    #[test]
    fn all_problems_come_at_once() {
        let mut config = Config {
            memory_mb: 1,
            bad_limit: 2.0,
            sources: vec![source("a/b"), source("a/b")],
            ..Config::default()
        };
        config.sources[1].path = Paths::default();
        config.sources[1].weight = -1.0;
        config.dedup.threshold = 0.1;
        config.pictures.rules.max_text_share = Some(7.0);
        config.normalize.opencc = "t2x".to_string();
        config.rules.pack = "defautl".to_string();
        let text = config.validate().join("\n");
        for part in [
            "memory_mb",
            "bad_limit",
            "two sources",
            "a/b",
            "path is missing",
            "weight",
            "max_text_share",
            "threshold",
            "t2x",
            "defautl",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn a_plain_configuration_has_no_problem_and_unknown_keys_are_refused() {
        let text = "memory_mb = 256\n[[sources]]\nname = \"web\"\nkind = \"archive\"\npath = \"*.warc.gz\"\nmodality = [\"text\", \"pairs\"]\n";
        let config: Config = toml::from_str(text).expect("parses");
        assert_eq!(config.validate(), Vec::<String>::new());
        let back: Config =
            toml::from_str(&toml::to_string(&config).expect("writes")).expect("parses");
        assert_eq!(back, config);
        let error = toml::from_str::<Config>("memory = 5").expect_err("refused");
        assert!(error.to_string().contains("memory"));
    }
}
