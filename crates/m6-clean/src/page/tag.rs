//! Element names as small numbers, and what the HTML standard says of each.

/// Longest element name that is known; longer ones are [`Tag::Other`].
const LONGEST: usize = 16;

macro_rules! tags {
    ($($variant:ident $name:literal,)*) => {
        /// An element's name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub(crate) enum Tag {
            /// The document itself.
            Document,
            /// A run of text.
            Text,
            /// A name that means nothing to us.
            Other,
            $(
                #[doc = concat!("`", $name, "`.")]
                $variant,
            )*
        }

        impl Tag {
            /// The tag of a name in lower case.
            fn of_lower(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

tags! {
    A "a", Address "address", AmpImg "amp-img", Applet "applet", Area "area", Article "article", Aside "aside", Audio "audio", B "b",
    Base "base", Big "big", Blockquote "blockquote", Body "body", Br "br", Button "button", Canvas "canvas", Caption "caption",
    Center "center", Code "code", Col "col", Colgroup "colgroup", Datalist "datalist", Dd "dd", Details "details", Dialog "dialog",
    Dir "dir", Div "div", Dl "dl", Dt "dt", Em "em", Embed "embed", Fieldset "fieldset", Figcaption "figcaption", Figure "figure",
    Font "font", Footer "footer", ForeignObject "foreignobject", Form "form", Frame "frame", Frameset "frameset", H1 "h1", H2 "h2",
    H3 "h3", H4 "h4", H5 "h5", H6 "h6", Head "head", Header "header", Hgroup "hgroup", Hr "hr", Html "html", I "i", Iframe "iframe",
    Image "image", Img "img", Input "input", Label "label", Legend "legend", Li "li", Link "link", Listing "listing", Main "main",
    Map "map", Marquee "marquee", Math "math", Menu "menu", Meta "meta", Nav "nav", Nobr "nobr", Noembed "noembed",
    Noframes "noframes", Noscript "noscript", Object "object", Ol "ol", Optgroup "optgroup", Option "option", P "p", Param "param",
    Picture "picture", Plaintext "plaintext", Pre "pre", Rp "rp", Rt "rt", Ruby "ruby", S "s", Script "script", Search "search",
    Section "section", Select "select", Small "small", Source "source", Span "span", Strike "strike", Strong "strong",
    Style "style", Sub "sub", Summary "summary", Sup "sup", Svg "svg", Table "table", Tbody "tbody", Td "td", Template "template",
    Textarea "textarea", Tfoot "tfoot", Th "th", Thead "thead", Time "time", Title "title", Tr "tr", Track "track", Tt "tt", U "u",
    Ul "ul", Var "var", Video "video", Wbr "wbr", Xmp "xmp",
}

impl Tag {
    /// The tag of a name as it is written, in any case.
    pub(crate) fn of(name: &str) -> Self {
        if name.len() > LONGEST {
            return Self::Other;
        }
        let mut buffer = [0u8; LONGEST];
        for (to, from) in buffer.iter_mut().zip(name.bytes()) {
            *to = from.to_ascii_lowercase();
        }
        std::str::from_utf8(&buffer[..name.len()]).map_or(Self::Other, Self::of_lower)
    }

    /// Elements that hold nothing and have no end tag.
    pub(crate) fn is_void(self) -> bool {
        matches!(
            self,
            Self::Area
                | Self::Base
                | Self::Br
                | Self::Col
                | Self::Embed
                | Self::Frame
                | Self::Hr
                | Self::Image
                | Self::Img
                | Self::Input
                | Self::Link
                | Self::Meta
                | Self::Param
                | Self::Source
                | Self::Track
                | Self::Wbr
        )
    }

    /// Elements whose content is text up to their own end tag. `noscript` is not one of them: scripts do not run here, and
    /// the pictures of pages that load them lazily are in it.
    pub(crate) fn is_raw_text(self) -> bool {
        matches!(
            self,
            Self::Iframe
                | Self::Noembed
                | Self::Noframes
                | Self::Script
                | Self::Style
                | Self::Textarea
                | Self::Title
                | Self::Xmp
        )
    }

    /// Elements that may stand in `head`.
    pub(crate) fn may_stand_in_head(self) -> bool {
        matches!(
            self,
            Self::Base
                | Self::Head
                | Self::Link
                | Self::Meta
                | Self::Noscript
                | Self::Script
                | Self::Style
                | Self::Template
                | Self::Title
        )
    }

    /// `h1` to `h6`, as 1 to 6.
    pub(crate) fn heading_level(self) -> Option<u8> {
        match self {
            Self::H1 => Some(1),
            Self::H2 => Some(2),
            Self::H3 => Some(3),
            Self::H4 => Some(4),
            Self::H5 => Some(5),
            Self::H6 => Some(6),
            _ => None,
        }
    }

    /// Start tags that end an open paragraph.
    pub(crate) fn ends_paragraph(self) -> bool {
        self.heading_level().is_some()
            || self.is_plain_block()
            || matches!(
                self,
                Self::Form
                    | Self::Hr
                    | Self::Li
                    | Self::Dd
                    | Self::Dt
                    | Self::Plaintext
                    | Self::Table
                    | Self::Xmp
            )
    }

    /// Blocks whose end tag closes what is open inside them.
    pub(crate) fn is_plain_block(self) -> bool {
        matches!(
            self,
            Self::Address
                | Self::Article
                | Self::Aside
                | Self::Blockquote
                | Self::Center
                | Self::Details
                | Self::Dialog
                | Self::Dir
                | Self::Div
                | Self::Dl
                | Self::Fieldset
                | Self::Figcaption
                | Self::Figure
                | Self::Footer
                | Self::Header
                | Self::Hgroup
                | Self::Listing
                | Self::Main
                | Self::Menu
                | Self::Nav
                | Self::Ol
                | Self::Pre
                | Self::Search
                | Self::Section
                | Self::Summary
                | Self::Ul
        )
    }

    /// The standard's "special" elements: an end tag of an inline element does not reach through them.
    pub(crate) fn is_special(self) -> bool {
        self.ends_paragraph()
            || self.is_scope_wall()
            || self.is_table_part()
            || self.is_void()
            || matches!(
                self,
                Self::Body | Self::Button | Self::Head | Self::P | Self::Select | Self::Noscript
            )
    }

    /// Where a search for an open element ends.
    pub(crate) fn is_scope_wall(self) -> bool {
        matches!(
            self,
            Self::Applet
                | Self::Caption
                | Self::Document
                | Self::ForeignObject
                | Self::Html
                | Self::Marquee
                | Self::Object
                | Self::Table
                | Self::Td
                | Self::Template
                | Self::Th
        )
    }

    /// Parts of a table, without the table itself.
    pub(crate) fn is_table_part(self) -> bool {
        matches!(
            self,
            Self::Caption
                | Self::Col
                | Self::Colgroup
                | Self::Tbody
                | Self::Td
                | Self::Tfoot
                | Self::Th
                | Self::Thead
                | Self::Tr
        )
    }

    /// Elements that cannot be in a drawing: they end an open `svg` or `math`.
    pub(crate) fn breaks_out_of_drawing(self) -> bool {
        self.heading_level().is_some()
            || self.is_plain_block()
            || matches!(
                self,
                Self::B
                    | Self::Big
                    | Self::Body
                    | Self::Br
                    | Self::Code
                    | Self::Dd
                    | Self::Dt
                    | Self::Em
                    | Self::Embed
                    | Self::Head
                    | Self::Hr
                    | Self::I
                    | Self::Img
                    | Self::Li
                    | Self::Meta
                    | Self::Nobr
                    | Self::P
                    | Self::Ruby
                    | Self::S
                    | Self::Small
                    | Self::Span
                    | Self::Strong
                    | Self::Strike
                    | Self::Sub
                    | Self::Sup
                    | Self::Table
                    | Self::Tt
                    | Self::U
                    | Self::Var
            )
    }

    /// Whether text before and after it belongs to different lines of the page.
    pub(crate) fn breaks_line(self) -> bool {
        self.ends_paragraph()
            || self.is_table_part()
            || matches!(
                self,
                Self::Body
                    | Self::Document
                    | Self::Html
                    | Self::Legend
                    | Self::Optgroup
                    | Self::Option
                    | Self::P
            )
    }

    /// Elements whose text is never part of what the page says: scripts, drawings, fields and players.
    pub(crate) fn is_never_text(self) -> bool {
        matches!(
            self,
            Self::Applet
                | Self::Audio
                | Self::Button
                | Self::Canvas
                | Self::Datalist
                | Self::Embed
                | Self::Frameset
                | Self::Head
                | Self::Iframe
                | Self::Input
                | Self::Map
                | Self::Math
                | Self::Noembed
                | Self::Noframes
                | Self::Object
                | Self::Rp
                | Self::Rt
                | Self::Script
                | Self::Select
                | Self::Style
                | Self::Svg
                | Self::Template
                | Self::Textarea
                | Self::Title
                | Self::Video
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, tag) in [
            ("div", Tag::Div),
            ("DIV", Tag::Div),
            ("ForeignObject", Tag::ForeignObject),
            ("amp-img", Tag::AmpImg),
            ("x-unknown", Tag::Other),
            ("a-name-longer-than-any", Tag::Other),
            ("é", Tag::Other),
        ] {
            assert_eq!(Tag::of(name), tag, "{name}");
        }
    }

    #[test]
    fn headings_have_levels() {
        assert_eq!(Tag::of("H3").heading_level(), Some(3));
        assert_eq!(Tag::of("hr").heading_level(), None);
    }
}
