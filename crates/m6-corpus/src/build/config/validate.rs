//! Every problem of a configuration, found before any work.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::{Config, SourceConfig};
use crate::build::adapt;
use crate::remote::{Address, is_remote};

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
    addresses(config, &mut out);
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

/// Addresses that are none, and files that must be local.
fn addresses(config: &Config, out: &mut Vec<String>) {
    let mut paths = vec![config.root.clone()];
    for source in &config.sources {
        let all = source.path.iter().chain(source.pictures_from.iter());
        paths.extend(all.chain(source.index.as_deref()).map(PathBuf::from));
    }
    for path in paths.iter().filter(|path| is_remote(path)) {
        if let Err(error) = Address::parse(path) {
            out.push(error.to_string());
        }
    }
    let assets = &config.assets;
    let lists = assets.lists.iter().map(|list| &list.path);
    let single = [&assets.lm, &assets.classifier, &assets.truth];
    let packs = config.sources.iter().filter_map(|s| s.pack.as_ref());
    let packs = packs.chain([&config.rules.pack, &config.rules.pairs]);
    let packs = packs
        .filter(|name| name.ends_with(".toml"))
        .map(PathBuf::from);
    let files = lists.chain(single.into_iter().flatten()).cloned();
    for path in files.chain(packs) {
        if is_remote(&path) || is_remote(&config.root.join(&path)) {
            out.push(format!(
                "`{}`: lists, models, packs and the truth are local files; copy it here and give an absolute path",
                path.display()
            ));
        }
    }
    if config.cache.as_deref().is_some_and(is_remote) {
        out.push(
            "corpus.cache is where objects are kept on this machine; it cannot be an address"
                .to_string(),
        );
    }
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
    fn what_must_be_local_is_told_from_addresses() {
        let mut config = Config {
            root: PathBuf::from("s3://b/in"),
            sources: vec![source("a")],
            ..Config::default()
        };
        config.assets.lm = Some(PathBuf::from("/here/zh.lm"));
        assert_eq!(config.validate(), Vec::<String>::new());
        config.assets.truth = Some(PathBuf::from("truth.jsonl"));
        config.cache = Some(PathBuf::from("s3://b/cache"));
        config.sources[0].pictures_from = Paths::from(["s3://"]);
        let problems = config.validate();
        assert_eq!(problems.len(), 3, "{problems:?}");
        for part in ["truth.jsonl", "corpus.cache", "no bucket"] {
            assert!(problems.iter().any(|p| p.contains(part)), "{problems:?}");
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
