//! Numbers about texts, parts of texts, pictures and pairs: measured once, kept as columns, decided over later.

mod menus;
mod pair;
mod part;
mod phrases;
mod repeat;
mod scan;

use super::Assets;
use super::chars::Class;
use super::columns::{columns, share};
use super::{pii, split};

pub use pair::{ImageSignals, PairSignals};
pub use part::PartSignals;
pub use repeat::{MAX_CHARS as MAX_REPEAT_CHARS, Repeats, repeats};
pub use scan::{SHORT_LINE_CHARS, Scan};

columns! {
    /// The numbers of one document. Counts of characters leave white space and control characters out; shares lie in 0..=1
    /// and are 0 for an empty text.
    Signals {
        /// Characters.
        n_chars: u64,
        /// Characters of the title, when there is one.
        title_chars: Option<u64>,
        /// Bytes of the text as UTF-8.
        n_bytes: u64,
        /// Lines with content.
        n_lines: u64,
        /// Blocks of lines without an empty line between them.
        n_paragraphs: u64,
        /// Sentences.
        n_sentences: u64,
        /// Characters a line, on average.
        mean_line_chars: f64,
        /// Characters of the longest line.
        max_line_chars: u64,
        /// Characters a sentence, on average.
        mean_sentence_chars: f64,
        /// Chinese characters.
        n_cjk: u64,
        /// Share of Chinese characters.
        cjk_ratio: f64,
        /// Share of Latin letters.
        latin_ratio: f64,
        /// Share of digits.
        digit_ratio: f64,
        /// Share of punctuation.
        punct_ratio: f64,
        /// Share of signs, boxes and emoji.
        symbol_ratio: f64,
        /// Share of letters of other scripts.
        other_script_ratio: f64,
        /// Share of replacement characters, private use and unassigned code points.
        broken_ratio: f64,
        /// Control characters per visible character.
        control_ratio: f64,
        /// White space inside lines per visible character.
        space_ratio: f64,
        /// Characters that only traditional writing uses, per Chinese character.
        traditional_share: f64,
        /// The longest run of one character.
        longest_run: u64,
        /// Entropy of the characters, bits each.
        char_entropy: f64,
        /// Share of lines that end as a sentence does.
        sentence_end_ratio: f64,
        /// Share of lines under 10 characters.
        short_line_share: f64,
        /// Share of lines that end in an ellipsis.
        ellipsis_line_share: f64,
        /// Share of lines that begin with a list mark.
        bullet_line_share: f64,
        /// Share of lines that are rows of short items with separators: menus and paths of a page.
        menu_line_share: f64,
        /// Share of lines that stood before in the text.
        dup_line_share: f64,
        /// Share of characters in such lines.
        dup_line_char_share: f64,
        /// Share of paragraphs that stood before in the text.
        dup_paragraph_share: f64,
        /// Share of characters in such paragraphs.
        dup_paragraph_char_share: f64,
        /// Share of characters held by the most frequent 2-gram.
        top_2gram_share: f64,
        /// Share of characters held by the most frequent 3-gram.
        top_3gram_share: f64,
        /// Share of characters held by the most frequent 4-gram.
        top_4gram_share: f64,
        /// Share of characters inside a 5-gram that occurred before.
        rep_5gram_share: f64,
        /// Share of characters inside a 6-gram that occurred before.
        rep_6gram_share: f64,
        /// Share of characters inside a 7-gram that occurred before.
        rep_7gram_share: f64,
        /// Share of characters inside an 8-gram that occurred before.
        rep_8gram_share: f64,
        /// Share of characters inside a 9-gram that occurred before.
        rep_9gram_share: f64,
        /// Share of characters inside a 10-gram that occurred before.
        rep_10gram_share: f64,
        /// Web addresses in the text.
        n_links: u64,
        /// Share of characters in web addresses.
        link_char_share: f64,
        /// Boilerplate phrases ("上一篇", "版权所有").
        boilerplate_hits: u64,
        /// Boilerplate phrases per 1,000 characters.
        boilerplate_density: f64,
        /// Entries of lists of tier 1 in the text.
        list_hits_1: u64,
        /// Entries of lists of tier 2 in the text.
        list_hits_2: u64,
        /// Entries of lists of tier 3 in the text.
        list_hits_3: u64,
        /// Entries of tier 1 per 1,000 characters.
        list_density_1: f64,
        /// Entries of tier 2 per 1,000 characters.
        list_density_2: f64,
        /// Entries of tier 3 per 1,000 characters.
        list_density_3: f64,
        /// 1 when the address lies on a listed host.
        bad_host: u64,
        /// Identity card numbers (18 digits, checksum right).
        n_id_cards: u64,
        /// Mobile numbers.
        n_mobiles: u64,
        /// Bank cards (Luhn right, known issuer).
        n_bank_cards: u64,
        /// E-mail addresses.
        n_emails: u64,
        /// QQ numbers.
        n_qq: u64,
        /// WeChat names.
        n_wechat: u64,
        /// Licence plates.
        n_plates: u64,
        /// Public internet addresses.
        n_ips: u64,
        /// Personal data of all kinds per 1,000 characters.
        pii_density: f64,
        /// Perplexity a character under the language model; empty without a model.
        perplexity: Option<f64>,
        /// Probability of good text under the classifier; empty without one.
        quality: Option<f64>,
    }
}

impl Signals {
    /// Measures a document without lists and models.
    pub fn of(text: &str, title: Option<&str>, url: Option<&str>) -> Self {
        Self::with(&Assets::default(), text, title, url)
    }

    /// Measures a document; a pure function of its arguments.
    pub fn with(assets: &Assets, text: &str, title: Option<&str>, url: Option<&str>) -> Self {
        Self::with_spans(assets, text, title, url, &pii::find(text))
    }

    /// As [`Signals::with`], where the personal data in the text is known.
    pub(crate) fn with_spans(
        assets: &Assets,
        text: &str,
        title: Option<&str>,
        url: Option<&str>,
        spans: &[pii::Span],
    ) -> Self {
        let scan = Scan::of(text);
        let mut signals = Self {
            title_chars: title.map(n_visible),
            n_bytes: text.len() as u64,
            ..Self::default()
        };
        signals.take_characters(&scan);
        signals.take_lines(&scan);
        signals.take_repeats(&scan);
        signals.take_phrases(text);
        signals.menu_line_share = menus::line_share(text);
        signals.take_lists(assets, text, url);
        signals.take_pii(spans);
        signals.perplexity = assets.lm.as_ref().and_then(|model| model.perplexity(text));
        signals.quality = assets.classifier.as_ref().map(|model| model.score(text));
        signals
    }

    fn take_characters(&mut self, scan: &Scan) {
        let n_chars = scan.n_chars();
        let of_class = |class| share(scan.n(class), n_chars);
        self.n_chars = n_chars;
        self.n_cjk = scan.n(Class::Han);
        self.cjk_ratio = of_class(Class::Han);
        self.latin_ratio = of_class(Class::Latin);
        self.digit_ratio = of_class(Class::Digit);
        self.punct_ratio = of_class(Class::Punctuation);
        self.symbol_ratio = of_class(Class::Symbol);
        self.other_script_ratio = of_class(Class::Letter);
        self.broken_ratio = of_class(Class::Broken);
        self.control_ratio = of_class(Class::Control);
        self.space_ratio = of_class(Class::Space);
        self.traditional_share = share(scan.n_traditional, self.n_cjk);
        self.longest_run = scan.longest_run;
        self.char_entropy = scan::entropy(&scan.chars);
    }

    fn take_lines(&mut self, scan: &Scan) {
        let of_lines = |part| share(part, scan.n_lines);
        self.n_lines = scan.n_lines;
        self.n_paragraphs = scan.n_paragraphs;
        self.n_sentences = scan.n_sentences;
        self.mean_line_chars = of_lines(self.n_chars);
        self.max_line_chars = scan.max_line_chars;
        self.mean_sentence_chars = share(self.n_chars, scan.n_sentences);
        self.sentence_end_ratio = of_lines(scan.n_ended_lines);
        self.short_line_share = of_lines(scan.n_short_lines);
        self.ellipsis_line_share = of_lines(scan.n_ellipsis_lines);
        self.bullet_line_share = of_lines(scan.n_bullet_lines);
        self.dup_line_share = of_lines(scan.n_repeated_lines);
        self.dup_line_char_share = share(scan.n_repeated_line_chars, self.n_chars);
        self.dup_paragraph_share = share(scan.n_repeated_paragraphs, scan.n_paragraphs);
        self.dup_paragraph_char_share = share(scan.n_repeated_paragraph_chars, self.n_chars);
    }

    fn take_repeats(&mut self, scan: &Scan) {
        let Repeats { top, covered } = repeats(&scan.chars);
        [
            self.top_2gram_share,
            self.top_3gram_share,
            self.top_4gram_share,
        ] = top;
        [
            self.rep_5gram_share,
            self.rep_6gram_share,
            self.rep_7gram_share,
            self.rep_8gram_share,
            self.rep_9gram_share,
            self.rep_10gram_share,
        ] = covered;
    }

    fn take_phrases(&mut self, text: &str) {
        let links = split::links(text);
        self.n_links = links.len() as u64;
        self.link_char_share = share(
            links.iter().map(|link| link.len() as u64).sum(),
            self.n_chars,
        );
        self.boilerplate_hits = phrases::count(text);
        self.boilerplate_density = self.per_thousand(self.boilerplate_hits);
    }

    fn take_lists(&mut self, assets: &Assets, text: &str, url: Option<&str>) {
        [self.list_hits_1, self.list_hits_2, self.list_hits_3] = assets.lists.count(text);
        self.list_density_1 = self.per_thousand(self.list_hits_1);
        self.list_density_2 = self.per_thousand(self.list_hits_2);
        self.list_density_3 = self.per_thousand(self.list_hits_3);
        self.bad_host = u64::from(url.is_some_and(|url| assets.lists.lists_host(url)));
    }

    fn take_pii(&mut self, spans: &[pii::Span]) {
        for span in spans {
            let count = match span.kind {
                pii::Kind::IdCard => &mut self.n_id_cards,
                pii::Kind::Mobile => &mut self.n_mobiles,
                pii::Kind::BankCard => &mut self.n_bank_cards,
                pii::Kind::Email => &mut self.n_emails,
                pii::Kind::Qq => &mut self.n_qq,
                pii::Kind::Wechat => &mut self.n_wechat,
                pii::Kind::Plate => &mut self.n_plates,
                pii::Kind::Ip => &mut self.n_ips,
            };
            *count += 1;
        }
        self.pii_density = self.per_thousand(spans.len() as u64);
    }

    fn per_thousand(&self, n: u64) -> f64 {
        1000.0 * share(n, self.n_chars)
    }
}

/// Characters that are neither white space nor control characters.
pub(crate) fn n_visible(text: &str) -> u64 {
    let is_visible = |c: &char| !matches!(super::chars::class(*c), Class::Space | Class::Control);
    text.chars().filter(is_visible).count() as u64
}

#[cfg(test)]
mod tests;
