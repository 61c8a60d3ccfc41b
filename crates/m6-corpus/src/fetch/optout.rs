//! Owners who said no: `X-Robots-Tag` (and `<meta name="robots">`, which says the same) and `TDM-Reservation`.

/// Directives that keep a work out of a training corpus; the same set as img2dataset's, and `none`, which contains `noindex`.
const FORBIDDING: [&str; 5] = ["noai", "noimageai", "noindex", "noimageindex", "none"];
/// Directives that have a value after a colon; any other word before a colon is a crawler's name.
const WITH_VALUE: [&str; 4] = [
    "unavailable_after",
    "max-snippet",
    "max-image-preview",
    "max-video-preview",
];
/// Directives looked at in one value; a longer list counts as a no.
const MAX_DIRECTIVES: usize = 1000;

/// The directive of a robots value (`noai, nofollow` or `somebot: noindex`) that forbids use by the crawler `token`, if any.
///
/// A name before a colon speaks to that crawler alone, from there to the end of the value or the next name.
pub fn forbids<'a>(value: &'a str, token: &str) -> Option<&'a str> {
    let mut is_meant = true;
    for (n, part) in value.split(',').enumerate() {
        if n >= MAX_DIRECTIVES {
            return Some("a list of directives without end");
        }
        let mut directive = part.trim();
        if let Some((name, rest)) = directive.split_once(':') {
            let name = name.trim();
            if WITH_VALUE
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known))
            {
                continue;
            }
            is_meant = name == "*" || name.eq_ignore_ascii_case(token);
            directive = rest.trim();
        }
        if is_meant
            && FORBIDDING
                .iter()
                .any(|no| directive.eq_ignore_ascii_case(no))
        {
            return Some(directive);
        }
    }
    None
}

/// Whether a `TDM-Reservation` header reserves the rights of text and data mining (W3C community report, value 1).
pub(super) fn reserves(value: &str) -> bool {
    value.trim() == "1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_of_headers() {
        let check = |value: &str, expected: Option<&str>| {
            assert_eq!(forbids(value, "m6-corpus"), expected, "{value}");
        };
        check("", None);
        check("all", None);
        check("nofollow, noarchive", None);
        check("noai", Some("noai"));
        check("nofollow , NoImageAI", Some("NoImageAI"));
        check("noindex", Some("noindex"));
        check("none", Some("none"));
        check("noaimed", None);
        check("otherbot: noai, noindex", None);
        check("otherbot: noindex, M6-Corpus: noai", Some("noai"));
        check("m6-corpus:noimageindex", Some("noimageindex"));
        check("*: noai", Some("noai"));
        check(
            "unavailable_after: 25 Jun 2030 15:00:00 PST, noai",
            Some("noai"),
        );
        check("max-snippet:-1, max-image-preview:large", None);
        check(&"a,".repeat(2000), Some("a list of directives without end"));
    }

    #[test]
    fn reservations() {
        let check = |value: &str, expected: bool| assert_eq!(reserves(value), expected, "{value}");
        check("1", true);
        check(" 1 ", true);
        check("0", false);
        check("", false);
        check("10", false);
    }
}
