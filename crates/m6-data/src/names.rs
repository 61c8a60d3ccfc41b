//! Names of pictures from the values of a field.

/// From a value to the name of a picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamePattern {
    before: String,
    width: usize,
    after: String,
}

impl NamePattern {
    /// `a{}b` or `a{:012}b`; `None` of anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (before, rest) = text.split_once('{')?;
        let (inside, after) = rest.split_once('}')?;
        let width = match inside {
            "" => 0,
            _ => inside.strip_prefix(":0")?.parse().ok()?,
        };
        let plain = !before.contains('}') && !after.contains(['{', '}']);
        (plain && width <= 64).then(|| Self {
            before: before.to_string(),
            width,
            after: after.to_string(),
        })
    }

    /// The name.
    pub(crate) fn fill(&self, value: &str) -> String {
        let Self {
            before,
            width,
            after,
        } = self;
        format!("{before}{value:0>width$}{after}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pictures_are_filled_into_patterns() {
        let name = |pattern: &str| NamePattern::parse(pattern).map(|p| p.fill("42"));
        assert_eq!(
            name("COCO_{:012}.jpg").as_deref(),
            Some("COCO_000000000042.jpg")
        );
        assert_eq!(name("a/{}").as_deref(), Some("a/42"));
        for bad in ["x", "{", "{}{}", "}{}", "{:0}", "{:x}", "{:12}", "{:099}"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
