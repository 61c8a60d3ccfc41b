//! `m6 corpus fetch LIST --out DIR`: pictures off the web, politely.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::Args;
use m6_corpus::fetch::{Collected, Config, List, Network, PICTURES, collect};

use super::build::failure;
use crate::cli::Common;
use crate::error::{Failure, OrFail, Result};
use crate::out::{self, Terminal};
use crate::verbs::common::bytes;

/// `m6 corpus fetch`.
#[derive(Args, Debug, Clone)]
#[command(
    after_help = "Obeyed: robots.txt with its Crawl-delay, X-Robots-Tag (noai, noimageai, noindex, none) and TDM-Reservation.\n\
    Refused: addresses that are not public, at every redirect and after names are resolved.\n\
    The same command goes on after a stop: what is in DIR/cache is not asked for again.\n\
    DIR/pictures/*.tar go into `pictures_from` of a source; DIR/pictures/fetched.jsonl says what became of each address."
)]
pub struct FetchArgs {
    /// List of addresses, one a line; or JSON lines with --field.
    pub list: PathBuf,
    /// Folder for the cache and the result.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Field of the addresses in JSON lines; a path through lists, as `images.src` of what `m6 corpus extract` writes.
    #[arg(long, value_name = "PATH")]
    pub field: Option<String>,
    /// TOML file of further settings (ports, back-off, caps of redirects and heads, cache folder).
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
    /// Who asks: a name, and where its owner is reached. robots.txt is read for the name.
    #[arg(long, value_name = "NAME/VERSION (+URL)")]
    pub user_agent: Option<String>,
    /// Least seconds between requests to one host; a larger Crawl-delay counts.
    #[arg(long, value_name = "SECONDS")]
    pub delay: Option<f64>,
    /// Requests to one host at a time.
    #[arg(long, value_name = "N")]
    pub per_host: Option<usize>,
    /// Requests at a time in all.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Tries of one address.
    #[arg(long, value_name = "N")]
    pub tries: Option<u32>,
    /// Seconds for one request with its body.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<f64>,
    /// Most bytes of one body.
    #[arg(long, value_name = "BYTES")]
    pub max_bytes: Option<u64>,
    /// Type that is wanted, as a prefix; may be given several times, "" is all. Pictures by default.
    #[arg(long, value_name = "PREFIX")]
    pub accept: Vec<String>,
    /// For tests: loopback addresses of this machine at any port, and nothing else.
    #[arg(long)]
    pub loopback_only: bool,
}

/// Runs the verb: fetches what can be had, says why the rest cannot.
///
/// # Errors
/// A list or settings that cannot be read (exit code 2), not one address to be had (3), Ctrl-C (130).
pub fn run(args: &FetchArgs, common: &Common, terminal: &Terminal) -> Result<()> {
    let config = settings(args, common)?;
    config.validate().or_usage()?;
    check_out(&args.out)?;
    let list =
        List::read(&args.list, args.field.as_deref()).map_err(|error| list_failure(args, error))?;
    if let Some((line, reason)) = &list.first_bad {
        terminal.say(&format!(
            "{}: {} lines could not be used, the first is {line}: {reason}",
            args.list.display(),
            list.n_bad
        ));
    }
    let n_urls = list.urls.len() as u64;
    if common.dry_run {
        terminal.say(&format!(
            "would ask for {n_urls} addresses as \"{}\", each host at most every {} s, into {}",
            config.user_agent,
            config.delay,
            args.out.display()
        ));
        return Ok(());
    }
    if !config.user_agent.contains("://") && !config.user_agent.contains('@') {
        terminal.say("hint: say in --user-agent where owners of sites can reach you, as \"my-crawler/1.0 (+https://...)\"");
    }
    let progress = Mutex::new(terminal.progress(n_urls, "fetch"));
    let watch = |n_done: u64| {
        if let Ok(mut progress) = progress.lock() {
            progress.at(n_done, "");
        }
    };
    let collected =
        collect(config, &list.urls, &args.out, &out::stop_flag(), &watch).map_err(failure)?;
    if let Ok(progress) = progress.into_inner() {
        progress.finish();
    }
    tell(&collected, &args.out, terminal);
    match (collected.counts.n_fetched, collected.first_refusal) {
        (0, Some((url, why))) => Err(Failure::data(format!(
            "none of the addresses could be had; {url}: {why}"
        ))
        .hint(format!(
            "{} has the reason of each",
            args.out.join(PICTURES).join("fetched.jsonl").display()
        ))),
        _ => Ok(()),
    }
}

/// Settings of the file, then of the command line.
fn settings(args: &FetchArgs, common: &Common) -> Result<Config> {
    let mut config = match &args.settings {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            toml::from_str::<Config>(&text)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?
        }
        None => Config::default(),
    };
    fn put<T: Clone>(place: &mut T, value: &Option<T>) {
        if let Some(value) = value {
            *place = value.clone();
        }
    }
    put(&mut config.user_agent, &args.user_agent);
    put(&mut config.delay, &args.delay);
    put(&mut config.per_host, &args.per_host);
    put(&mut config.n_workers, &args.workers);
    put(&mut config.n_tries, &args.tries);
    put(&mut config.timeout, &args.timeout);
    put(&mut config.max_bytes, &args.max_bytes);
    put(&mut config.seed, &common.seed);
    if !args.accept.is_empty() {
        config.types = args
            .accept
            .iter()
            .map(|prefix| prefix.to_ascii_lowercase())
            .collect();
    } else if config.types.is_empty() {
        config.types = vec!["image/".to_owned()];
    }
    if args.loopback_only {
        config.network = Network::LoopbackOnly;
    }
    Ok(config)
}

fn list_failure(args: &FetchArgs, error: m6_corpus::Error) -> Failure {
    match error {
        m6_corpus::Error::Config(what) if args.field.is_none() => {
            Failure::usage(format!("{}: {what}", args.list.display()))
                .hint("--field NAME says where the addresses are")
        }
        other => Failure::usage(other),
    }
}

/// A folder that is new, empty or of an earlier fetch.
fn check_out(out: &Path) -> Result<()> {
    let is_full = std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    let is_ours = [".lock", "cache", PICTURES]
        .iter()
        .any(|name| out.join(name).exists());
    match is_full && !is_ours {
        true => Err(Failure::usage(format!(
            "{} holds something else than fetched pictures; choose another --out",
            out.display()
        ))),
        false => Ok(()),
    }
}

fn tell(collected: &Collected, out: &Path, terminal: &Terminal) {
    if terminal.json() {
        terminal.object(collected);
        return;
    }
    let counts = &collected.counts;
    let mut text = format!(
        "{} of {} addresses fetched ({}, {} from the cache), {} refused, {} tried again, {} repeated in the list\n",
        counts.n_fetched,
        collected.n_urls,
        bytes(counts.n_bytes as f64),
        counts.n_cached,
        counts.n_refused,
        counts.n_retries,
        collected.n_repeated
    );
    for (rule, n) in &collected.refused_by {
        text.push_str(&format!("{n:>10} {rule}\n"));
    }
    terminal.data(&text);
    terminal.say(&format!(
        "{} tars -> {}",
        collected.n_tars,
        out.join(PICTURES).display()
    ));
}
