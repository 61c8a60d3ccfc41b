//! Fetching from a server on loopback; nothing here can reach anything else.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::testing::{Answer, Asked, Server};
use super::*;

fn config() -> Config {
    Config {
        user_agent: "m6-test/1.0 (+https://example.org/bot)".to_owned(),
        network: Network::LoopbackOnly,
        delay: 0.0,
        backoff: 0.01,
        timeout: 5.0,
        n_workers: 4,
        max_bytes: 10_000,
        ..Config::default()
    }
}

/// All outcomes, in the order of the addresses.
fn fetch(config: Config, urls: &[String]) -> (Vec<Outcome>, Summary) {
    let fetcher = Fetcher::new(config).unwrap();
    let outcomes: Vec<Mutex<Option<Outcome>>> = urls.iter().map(|_| Mutex::default()).collect();
    let sink = |at: usize, outcome: Outcome| {
        let before = outcomes[at].lock().unwrap().replace(outcome);
        assert!(before.is_none(), "two outcomes of {}", urls[at]);
    };
    let summary = fetcher
        .fetch_all(urls, &AtomicBool::new(false), &sink)
        .unwrap();
    let outcomes = outcomes
        .into_iter()
        .map(|outcome| outcome.into_inner().unwrap().unwrap());
    (outcomes.collect(), summary)
}

fn one(config: Config, url: &str) -> Outcome {
    fetch(config, &[url.to_owned()]).0.remove(0)
}

fn rule(outcome: &Outcome) -> Option<Rule> {
    outcome.as_ref().err().map(|refusal| refusal.rule)
}

fn missing() -> Answer {
    Answer::new(404, &[], b"")
}

fn ok(body: &[u8]) -> Answer {
    Answer::new(200, &["Content-Type: image/png"], body)
}

#[test]
fn a_packed_body_is_unpacked_as_far_as_allowed() {
    let pack = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    };
    let server = Server::start(move |asked: &Asked| {
        let (good, bomb) = (pack(b"the picture"), pack(&[7; 1 << 20]));
        let body = match asked.path.as_str() {
            "/good" => &good[..],
            "/bomb" => &bomb,
            "/damaged" => b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff",
            _ => return missing(),
        };
        Answer::new(200, &["Content-Encoding: gzip"], body)
    });
    let good = one(config(), &server.url("/good")).unwrap();
    assert_eq!(good.body, b"the picture");
    assert_eq!(
        rule(&one(config(), &server.url("/bomb"))),
        Some(Rule::Bytes)
    );
    assert_eq!(
        rule(&one(config(), &server.url("/damaged"))),
        Some(Rule::Network)
    );
}

#[test]
fn a_body_comes_with_its_type_and_final_address() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/a" => Answer::new(302, &["Location: /b?x=%E5%9B%BE"], b"moved"),
        "/b?x=%E5%9B%BE" => Answer::new(301, &["Location: //127.0.0.1:PORT/c"], b""),
        "/c" => Answer::new(
            200,
            &["Content-Type: Text/HTML; charset=GBK"],
            "正文".as_bytes(),
        ),
        _ => missing(),
    });
    let fetched = one(config(), &server.url("/c")).unwrap();
    assert_eq!(fetched.body, "正文".as_bytes());
    assert_eq!(
        (fetched.mime.as_deref(), fetched.charset.as_deref()),
        (Some("text/html"), Some("gbk"))
    );
    assert_eq!((fetched.url, fetched.from_cache), (server.url("/c"), false));
    // A redirect is followed; the second one leads to no port that is one.
    let refusal = one(config(), &server.url("/a")).unwrap_err();
    assert_eq!(refusal.rule, Rule::Redirects, "{refusal}");
    assert_eq!(server.paths(), ["/c", "/a", "/b?x=%E5%9B%BE"]);
}

#[test]
fn redirects_have_an_end_and_every_hop_is_checked() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/loop" => Answer::new(302, &["Location: /loop"], b""),
        "/none" => Answer::new(302, &[], b""),
        "/inside" => Answer::new(
            302,
            &["Location: http://169.254.169.254/latest/meta-data/"],
            b"",
        ),
        "/mapped" => Answer::new(307, &["Location: http://[::ffff:10.0.0.1]/"], b""),
        "/outside" => Answer::new(308, &["Location: http://8.8.8.8/"], b""),
        "/file" => Answer::new(302, &["Location: file:///etc/passwd"], b""),
        "/login" => Answer::new(302, &["Location: http://a:b@127.0.0.1/"], b""),
        "/long" => Answer::new(302, &[&format!("Location: /{}", "x".repeat(9000))], b""),
        _ => missing(),
    });
    let check = |path: &str, expected: Rule| {
        let outcome = one(config(), &server.url(path));
        assert_eq!(rule(&outcome), Some(expected), "{path}: {outcome:?}");
    };
    check("/loop", Rule::Redirects);
    assert_eq!(server.n_asked("/loop"), 6, "five redirects are followed");
    check("/none", Rule::Redirects);
    check("/inside", Rule::Address);
    check("/mapped", Rule::Address);
    check("/outside", Rule::Address);
    check("/file", Rule::Url);
    check("/login", Rule::Url);
    check("/long", Rule::Redirects);
}

#[test]
fn the_inside_is_never_dialled_from_the_public_network() {
    let server = Server::start(|_| ok(b"secret"));
    let public = || Config {
        network: Network::Public,
        ports: vec![server.port()],
        n_tries: 1,
        ..config()
    };
    for url in [
        server.url("/"),
        server.url_by_name("/"),
        format!("http://[::1]:{}/", server.port()),
        format!("http://0x7f000001:{}/", server.port()),
        format!("http://127.1:{}/", server.port()),
    ] {
        for obey_robots in [true, false] {
            let outcome = one(
                Config {
                    obey_robots,
                    ..public()
                },
                &url,
            );
            let refusal = outcome.unwrap_err();
            assert_eq!(
                (refusal.rule, refusal.is_temporary),
                (Rule::Address, false),
                "{url}: {refusal}"
            );
        }
    }
    assert_eq!(server.n_connections(), 0);
}

#[test]
fn robots_txt_is_obeyed_and_asked_for_once() {
    let server = Server::start(|asked: &Asked| {
        match asked.path.as_str() {
        "/robots.txt" => Answer::new(
            200,
            &[],
            b"User-agent: *\nDisallow: /\n\nUser-agent: m6-test\nDisallow: /private\nAllow: /private/open\n",
        ),
        _ => ok(b"x"),
    }
    });
    let urls = ["/a", "/private/b", "/private/open/c", "/private?q"].map(|path| server.url(path));
    let (outcomes, _) = fetch(config(), &urls);
    let rules: Vec<_> = outcomes.iter().map(rule).collect();
    assert_eq!(rules, [None, Some(Rule::Robots), None, Some(Rule::Robots)]);
    assert_eq!(server.n_asked("/robots.txt"), 1);
    let mut paths = server.paths();
    paths.sort();
    assert_eq!(paths, ["/a", "/private/open/c"]);
    let careless = Config {
        obey_robots: false,
        ..config()
    };
    assert!(one(careless, &server.url("/private/b")).is_ok());
}

#[test]
fn a_missing_robots_txt_allows_and_a_failing_one_forbids() {
    let check = |status: u16, expected: Option<Rule>| {
        let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
            "/robots.txt" => Answer::new(status, &[], b"User-agent: *\nDisallow: /"),
            _ => ok(b"x"),
        });
        let outcome = one(config(), &server.url("/a"));
        assert_eq!(rule(&outcome), expected, "status {status}: {outcome:?}");
        // What may pass is tried again, and robots.txt with it.
        let n_tries = if expected == Some(Rule::Robots) && status != 200 {
            3
        } else {
            1
        };
        assert_eq!(server.n_asked("/robots.txt"), n_tries, "status {status}");
    };
    check(404, None);
    check(403, None);
    check(200, Some(Rule::Robots));
    check(500, Some(Rule::Robots));
    check(429, Some(Rule::Robots));
}

#[test]
fn owners_who_opted_out_are_heard() {
    let check = |header: &'static str, expected: Option<Rule>| {
        let server = Server::start(move |asked: &Asked| match asked.path.as_str() {
            "/robots.txt" => missing(),
            _ => Answer::new(200, &[header, "X-Other: y"], b"x"),
        });
        let outcome = one(config(), &server.url("/a"));
        assert_eq!(rule(&outcome), expected, "{header}: {outcome:?}");
        let deaf = Config {
            obey_opt_out: false,
            ..config()
        };
        assert!(one(deaf, &server.url("/a")).is_ok());
    };
    check("X-Robots-Tag: nofollow", None);
    check("X-Robots-Tag: noai", Some(Rule::OptOut));
    check(
        "X-Robots-Tag: nofollow\r\nX-Robots-Tag: noimageai",
        Some(Rule::OptOut),
    );
    check("X-Robots-Tag: m6-test: noindex", Some(Rule::OptOut));
    check("X-Robots-Tag: other: noindex", None);
    check("TDM-Reservation: 1", Some(Rule::OptOut));
    check("TDM-Reservation: 0", None);
}

#[test]
fn bytes_types_and_times_have_caps() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/fits" => ok(&[7; 10_000]),
        "/declared" => Answer::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nxx"),
        "/over" => ok(&[7; 10_001]),
        "/endless" => Answer {
            is_endless: true,
            ..Answer::raw(
                &[
                    b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".as_slice(),
                    &[b'x'; 4096],
                ]
                .concat(),
            )
        },
        "/chunked" => Answer::raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        "/cut" => Answer::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"),
        "/head" => Answer::new(200, &[&format!("X: {}", "h".repeat(200_000))], b""),
        "/garbage" => Answer::raw(b"\x00\xffnothing of HTTP\r\n\r\n"),
        "/silence" => Answer {
            pause: Duration::from_secs(3),
            ..ok(b"late")
        },
        "/html" => Answer::new(200, &["Content-Type: text/html"], b"<html>"),
        "/untyped" => Answer::new(200, &[], b"?"),
        _ => missing(),
    });
    let check = |path: &str, expected: Option<Rule>| {
        let config = Config {
            types: vec!["image/".to_owned()],
            timeout: 1.0,
            n_tries: 1,
            ..config()
        };
        let start = Instant::now();
        let outcome = one(config, &server.url(path));
        assert_eq!(rule(&outcome), expected, "{path}: {outcome:?}");
        assert!(start.elapsed() < Duration::from_secs(4), "{path}");
    };
    check("/fits", None);
    check("/declared", Some(Rule::Bytes));
    check("/over", Some(Rule::Bytes));
    check("/endless", Some(Rule::Bytes));
    check("/chunked", None);
    check("/cut", Some(Rule::Network));
    check("/head", Some(Rule::Bytes));
    check("/garbage", Some(Rule::Network));
    check("/silence", Some(Rule::Time));
    check("/html", Some(Rule::Type));
    check("/untyped", None);
    check("/nothing", Some(Rule::Status));
}

#[test]
fn what_may_pass_is_tried_again_and_the_rest_is_not() {
    let server = Server::start(
        |asked: &Asked| match (asked.path.as_str(), asked.n_before) {
            ("/flaky", 0 | 1) => Answer::new(503, &["Retry-After: 0"], b""),
            ("/flaky", _) => ok(b"at last"),
            ("/down", _) => Answer::new(500, &[], b""),
            ("/later", _) => Answer::new(429, &["Retry-After: 100000"], b""),
            _ => missing(),
        },
    );
    let check = |path: &str, expected: Option<Rule>, n_asked: usize| {
        let (outcomes, summary) = fetch(config(), &[server.url(path)]);
        assert_eq!(rule(&outcomes[0]), expected, "{path}: {outcomes:?}");
        assert_eq!(server.n_asked(path), n_asked, "{path}");
        assert_eq!(summary.n_retries, n_asked as u64 - 1, "{path}");
    };
    check("/flaky", None, 3);
    check("/down", Some(Rule::Status), 3);
    check("/later", Some(Rule::Status), 1);
    check("/nothing", Some(Rule::Status), 1);
}

#[test]
fn a_cached_body_is_used_confirmed_or_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/from" => Answer::new(302, &["Location: /tagged"], b""),
        "/tagged" => match asked.headers.get("if-none-match").map(String::as_str) {
            Some("\"one\"") if asked.n_before < 3 => Answer::new(304, &[], b""),
            Some(_) => Answer::new(200, &["ETag: \"two\""], b"new"),
            None => Answer::new(200, &["ETag: \"one\"", "Content-Type: image/png"], b"old"),
        },
        "/optout" => match asked.headers.get("if-modified-since") {
            Some(_) => Answer::new(304, &["X-Robots-Tag: noai"], b""),
            None => Answer::new(
                200,
                &["Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"],
                b"mine",
            ),
        },
        _ => missing(),
    });
    let get = |path: &str, cache_fresh: f64| {
        let cache = Some(folder.path().to_owned());
        one(
            Config {
                cache,
                cache_fresh,
                ..config()
            },
            &server.url(path),
        )
    };
    let first = get("/from", 60.0).unwrap();
    assert_eq!(
        (first.body.as_slice(), first.from_cache),
        (b"old".as_slice(), false)
    );
    let fresh = get("/from", 60.0).unwrap();
    assert_eq!(
        (fresh.body, fresh.from_cache, fresh.url),
        (first.body, true, server.url("/tagged"))
    );
    assert_eq!(server.n_asked("/from"), 1);
    let confirmed = get("/from", 0.0).unwrap();
    assert_eq!(
        (confirmed.body.as_slice(), confirmed.from_cache),
        (b"old".as_slice(), true)
    );
    assert_eq!((server.n_asked("/from"), server.n_asked("/tagged")), (2, 2));
    assert!(get("/from", 0.0).is_ok());
    let replaced = get("/from", 0.0).unwrap();
    assert_eq!(
        (replaced.body.as_slice(), replaced.from_cache),
        (b"new".as_slice(), false)
    );
    assert_eq!(get("/from", 60.0).unwrap().body, b"new");
    // Consent can be withdrawn with the body unchanged.
    assert!(get("/optout", 60.0).is_ok());
    assert_eq!(rule(&get("/optout", 0.0)), Some(Rule::OptOut));
}

#[test]
fn one_host_is_asked_a_few_at_a_time_and_in_its_rhythm() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/robots.txt" => missing(),
        _ => Answer {
            pause: Duration::from_millis(30),
            ..ok(b"x")
        },
    });
    let urls: Vec<String> = (0..12).map(|at| server.url(&format!("/{at}"))).collect();
    let many = Config {
        n_workers: 12,
        per_host: 2,
        ..config()
    };
    let (outcomes, summary) = fetch(many, &urls);
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!((summary.n_fetched, summary.n_bytes), (12, 12));
    // A closing connection may still be open at the server when the next one comes.
    assert!(
        server.most_at_once() <= 4,
        "{} at once",
        server.most_at_once()
    );
    let start = Instant::now();
    let slow = Config {
        delay: 0.05,
        ..config()
    };
    fetch(slow, &urls[..5]);
    assert!(
        start.elapsed() >= Duration::from_millis(5 * 50),
        "robots.txt and five addresses"
    );
}

#[test]
fn a_dead_host_is_given_up_and_another_one_is_not() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/robots.txt" => missing(),
        _ => ok(b"alive"),
    });
    // A port that nobody listens at any more.
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut urls: Vec<String> = (0..9).map(|at| format!("http://{dead}/{at}")).collect();
    urls.push(server.url_by_name("/x"));
    let config = Config {
        max_host_failures: 4,
        obey_robots: false,
        per_host: 1,
        ..config()
    };
    let (outcomes, summary) = fetch(config, &urls);
    let count = |wanted: Rule| {
        outcomes
            .iter()
            .filter(|outcome| rule(outcome) == Some(wanted))
            .count()
    };
    assert!(count(Rule::Host) >= 5, "{outcomes:?}");
    assert_eq!(count(Rule::Host) + count(Rule::Network), 9);
    assert!(outcomes[9].is_ok());
    assert_eq!((summary.n_fetched, summary.n_refused), (1, 9));
}

#[test]
fn a_stopped_run_refuses_what_is_left_at_once() {
    let server = Server::start(|_| ok(b"x"));
    let urls: Vec<String> = (0..50).map(|at| server.url(&format!("/{at}"))).collect();
    let stop = AtomicBool::new(false);
    let outcomes = Mutex::new(Vec::new());
    let sink = |at: usize, outcome: Outcome| {
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        outcomes.lock().unwrap().push((at, rule(&outcome)));
    };
    let config = Config {
        n_workers: 1,
        obey_robots: false,
        ..config()
    };
    let summary = Fetcher::new(config)
        .unwrap()
        .fetch_all(&urls, &stop, &sink)
        .unwrap();
    let outcomes = outcomes.into_inner().unwrap();
    assert_eq!(outcomes.len(), 50);
    assert_eq!((summary.n_fetched, summary.n_refused), (1, 49));
    assert!(
        outcomes[1..]
            .iter()
            .all(|(_, rule)| *rule == Some(Rule::Stopped))
    );
}

#[test]
fn outcomes_are_the_same_for_any_number_of_workers() {
    let server = Server::start(|asked: &Asked| match asked.path.as_str() {
        "/robots.txt" => Answer::new(200, &[], b"User-agent: *\nDisallow: /3"),
        "/4" => Answer::new(301, &["Location: /5"], b""),
        "/6" => Answer::new(500, &[], b""),
        path if path.ends_with('7') => missing(),
        path => ok(path.as_bytes()),
    });
    let mut urls: Vec<String> = (0..20).map(|at| server.url(&format!("/{at}"))).collect();
    urls.extend((0..5).map(|at| server.url_by_name(&format!("/{at}"))));
    urls.push("not an address".to_owned());
    let run = |n_workers| {
        fetch(
            Config {
                n_workers,
                ..config()
            },
            &urls,
        )
    };
    let (alone, together) = (run(1), run(8));
    assert_eq!(alone.0, together.0);
    assert_eq!(alone.1, together.1);
    assert_eq!(rule(&alone.0[25]), Some(Rule::Url));
}

#[test]
fn a_cache_that_cannot_be_written_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    m6_store::atomic::write_file(&file, b"in the way").unwrap();
    let server = Server::start(|_| ok(b"x"));
    let config = Config {
        cache: Some(file),
        obey_robots: false,
        ..config()
    };
    let urls = [server.url("/a"), server.url("/b")];
    let result =
        Fetcher::new(config)
            .unwrap()
            .fetch_all(&urls, &AtomicBool::new(false), &|_, _| {});
    assert!(matches!(result, Err(crate::Error::Store(_))), "{result:?}");
}
