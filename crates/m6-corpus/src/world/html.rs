//! Pages as sites write them: four layouts around the main text.

use m6_store::rng::Stream;

use super::content::{Block, Content};
use super::furniture::Furniture;
use super::plan::{Layout, Plan};
use super::truth::TruthImage;

/// Placeholder that lazy pages show first, below the host.
pub(super) const SPACER: &str = "static/spacer.png";
/// The site's logo, below the host.
pub(super) const LOGO: &str = "static/logo.png";

/// A page and the pictures that it shows.
pub(super) struct Rendered {
    pub(super) html: String,
    /// Content pictures in reading order.
    pub(super) images: Vec<TruthImage>,
    /// Number in the world of each of them.
    pub(super) indices: Vec<u64>,
}

/// Ways of putting a picture on a page.
#[derive(Clone, Copy)]
enum Form {
    Plain,
    Titled,
    Lazy,
    Set,
    NoScript,
    Figure,
    Neighbour,
}

const FORMS: [Form; 8] = [
    Form::Plain,
    Form::Plain,
    Form::Titled,
    Form::Lazy,
    Form::Set,
    Form::NoScript,
    Form::Figure,
    Form::Neighbour,
];

/// How a page writes the addresses of its pictures.
#[derive(Clone, Copy)]
enum Style {
    Absolute,
    FromRoot,
    Relative,
    /// Relative to what a `base` element says.
    Base,
}

const STYLES: [Style; 4] = [
    Style::Absolute,
    Style::FromRoot,
    Style::Relative,
    Style::Base,
];

/// Lays out a page.
pub(super) fn render(
    plan: &Plan,
    content: &Content,
    around: &Furniture,
    stream: &mut Stream,
) -> Rendered {
    let mut page = Page {
        plan,
        style: *stream.choose(&STYLES),
        stream,
        out: String::new(),
        images: Vec::new(),
        indices: Vec::new(),
    };
    page.head(content, around);
    page.top(around);
    match plan.layout {
        Layout::Encyclopedia => page.encyclopedia(content, around),
        Layout::Forum => page.forum(content, around),
        Layout::Shop => page.shop(content, around),
        Layout::Blog => page.blog(content, around),
    }
    page.bottom(around);
    Rendered {
        html: page.out,
        images: page.images,
        indices: page.indices,
    }
}

struct Page<'a> {
    plan: &'a Plan,
    style: Style,
    stream: &'a mut Stream,
    out: String,
    images: Vec<TruthImage>,
    indices: Vec<u64>,
}

impl Page<'_> {
    fn put(&mut self, html: &str) {
        self.out.push_str(html);
        self.out.push('\n');
    }

    fn head(&mut self, content: &Content, around: &Furniture) {
        self.put("<!DOCTYPE html>\n<html lang=\"zh\">\n<head>");
        if let Some(charset) = self.plan.charset.meta {
            let old = format!(
                "<meta http-equiv=\"Content-Type\" content=\"text/html; charset={charset}\">"
            );
            let new = format!("<meta charset=\"{charset}\">");
            let is_old = self.stream.bool(0.5);
            self.put(if is_old { &old } else { &new });
        }
        self.put(&format!(
            "<title>{}_{}</title>",
            escape(&content.title),
            around.site
        ));
        if matches!(self.style, Style::Base) {
            let host = &self.plan.host;
            self.put(&format!("<base href=\"http://{host}/img/\">"));
        }
        self.put("<style>body{font:14px sans-serif} .ad{color:#999}</style>");
        self.put("<script>var _hmt=_hmt||[];(function(){document.write('<div>统计代码</div>')})();</script>\n</head>\n<body>");
    }

    fn top(&mut self, around: &Furniture) {
        let host = &self.plan.host;
        let logo = format!(
            "<div id=\"header\"><a href=\"/\"><img src=\"http://{host}/{LOGO}\" alt=\"{}\"></a>",
            around.site
        );
        self.put(&logo);
        let items: Vec<String> = around
            .menu
            .iter()
            .map(|item| format!("<li><a href=\"/menu\">{item}</a></li>"))
            .collect();
        self.put(&format!("<ul class=\"nav\">{}</ul></div>", items.concat()));
        self.ad(around, 0);
    }

    fn ad(&mut self, around: &Furniture, number: usize) {
        if let Some(ad) = around.ads.get(number) {
            self.put(&format!("<div class=\"ad\"><a href=\"http://ads.example/?id={number}\" rel=\"nofollow\">{ad}</a></div>"));
        }
    }

    /// The blocks of the main text, one behind the other.
    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Heading(text) => self.put(&format!("<h2>{}</h2>", escape(text))),
                Block::Paragraph(text) => self.put(&format!("<p>{}</p>", escape(text))),
                Block::Lines(lines) => {
                    let lines: Vec<String> = lines.iter().map(|line| escape(line)).collect();
                    self.put(&format!("<p>{}</p>", lines.join("<br>\n")));
                }
                Block::Picture { index, caption } => self.picture(*index, caption),
            }
        }
    }

    fn picture(&mut self, index: u64, caption: &str) {
        let (host, number) = (&self.plan.host, self.plan.number);
        let name = format!("{number}-{index}.png");
        let src = format!("http://{host}/img/{name}");
        let address = match self.style {
            Style::Absolute => src.clone(),
            Style::FromRoot => format!("/img/{name}"),
            Style::Relative => format!("../img/{name}"),
            Style::Base => name,
        };
        let spacer = format!("http://{host}/{SPACER}");
        let text = escape(caption);
        let html = match *self.stream.choose(&FORMS) {
            Form::Plain => format!("<p><img src=\"{address}\" alt=\"{text}\"></p>"),
            Form::Titled => format!("<p><img src=\"{address}\" title=\"{text}\"></p>"),
            Form::Lazy => format!(
                "<p><img class=\"lazy\" src=\"{spacer}\" data-src=\"{address}\" alt=\"{text}\"></p>"
            ),
            Form::Set => {
                format!("<p><img src=\"{spacer}\" srcset=\"{address} 2x\" alt=\"{text}\"></p>")
            }
            Form::NoScript => {
                format!("<p><noscript><img src=\"{address}\" alt=\"{text}\"></noscript></p>")
            }
            Form::Figure => {
                format!("<figure><img src=\"{address}\"><figcaption>{text}</figcaption></figure>")
            }
            Form::Neighbour => format!(
                "<div class=\"pic\"><img src=\"{address}\"><p class=\"caption\">{text}</p></div>"
            ),
        };
        self.put(&html);
        self.images.push(TruthImage {
            src,
            caption: caption.to_string(),
        });
        self.indices.push(index);
    }

    fn encyclopedia(&mut self, content: &Content, around: &Furniture) {
        self.put("<div id=\"main\"><div id=\"content\">");
        self.put(&format!("<h1>{}</h1>", escape(&content.title)));
        self.put("<div class=\"tools\"><a href=\"/edit\">编辑</a> <a href=\"/history\">历史</a> <a href=\"/talk\">讨论</a></div>");
        self.put("<div class=\"entry\">");
        self.blocks(&content.blocks);
        self.put("</div>");
        self.ad(around, 1);
        self.put("<div class=\"catlinks\">词条标签：<a href=\"/c/1\">自然</a> <a href=\"/c/2\">生活</a></div></div>");
        self.side(around, "热门词条");
        self.put("</div>");
    }

    fn forum(&mut self, content: &Content, around: &Furniture) {
        self.put(&format!(
            "<div id=\"thread\"><h1>{}</h1>",
            escape(&content.title)
        ));
        let mut floor = 0;
        let mut open = false;
        for block in &content.blocks {
            // A picture belongs to the post above it.
            if !matches!(block, Block::Picture { .. }) {
                if open {
                    self.put("</div><div class=\"post-foot\"><a href=\"/r\">回复</a> <a href=\"/j\">举报</a></div></div>");
                }
                floor += 1;
                let (author, date) = (around.author, &around.date);
                let head = format!(
                    "<div class=\"post\"><div class=\"user\">{author}{floor} 等级：{floor} 积分：{}</div>\
                     <div class=\"time\">发表于 {date} {floor}楼</div><div class=\"message\">",
                    floor * 37
                );
                self.put(&head);
                open = true;
            }
            self.blocks(std::slice::from_ref(block));
        }
        if open {
            self.put("</div><div class=\"post-foot\"><a href=\"/r\">回复</a> <a href=\"/j\">举报</a></div></div>");
        }
        self.put(
            "<div class=\"pages\"><a href=\"?p=1\">1</a> <a href=\"?p=2\">2</a> 下一页</div></div>",
        );
        self.ad(around, 1);
        self.side(around, "热帖排行");
    }

    fn shop(&mut self, content: &Content, around: &Furniture) {
        let (price, sold) = (9 + self.stream.below(200), self.stream.below(5000));
        self.put("<div class=\"crumbs\"><a href=\"/\">首页</a> &gt; <a href=\"/toys\">玩具</a> &gt; 详情</div>");
        self.put(&format!(
            "<div id=\"goods\"><h1 class=\"name\">{}</h1>",
            escape(&content.title)
        ));
        self.put(&format!(
            "<div class=\"price\">¥{price}.00 已售{sold}件 <button>加入购物车</button></div>"
        ));
        self.put("<div class=\"detail\">");
        self.blocks(&content.blocks);
        self.put("</div></div>");
        self.ad(around, 1);
        self.side(around, "猜你喜欢");
    }

    fn blog(&mut self, content: &Content, around: &Furniture) {
        let read = self.stream.below(9000);
        let (title, author, date) = (escape(&content.title), around.author, &around.date);
        let head = format!(
            "<div class=\"wrap\"><article class=\"post\"><h1>{title}</h1>\
             <p class=\"meta\">作者：{author} 时间：{date} 阅读（{read}）</p>"
        );
        self.put(&head);
        self.blocks(&content.blocks);
        self.put("</article><div class=\"share\">分享到：微博 朋友圈 空间</div>");
        self.ad(around, 1);
        self.put("</div>");
        self.side(around, "最新文章");
    }

    fn side(&mut self, around: &Furniture, name: &str) {
        let items: Vec<String> = around
            .hot
            .iter()
            .enumerate()
            .map(|(i, title)| format!("<li><a href=\"/hot/{i}.html\">{}</a></li>", escape(title)))
            .collect();
        self.put(&format!(
            "<div class=\"sidebar\"><h3>{name}</h3><ul>{}</ul></div>",
            items.join("\n")
        ));
    }

    fn bottom(&mut self, around: &Furniture) {
        if !around.comments.is_empty() {
            self.put("<div id=\"comments\"><h3>网友评论</h3>");
            for (name, comment) in &around.comments {
                self.put(&format!(
                    "<div class=\"comment\"><b>{name}</b>：{comment} <a href=\"/up\">赞</a></div>"
                ));
            }
            self.put("</div>");
        }
        self.ad(around, 2);
        let year = around.date.get(..4).unwrap_or_default();
        let footer = format!(
            "<div id=\"footer\"><a href=\"/about\">关于我们</a> | <a href=\"/contact\">联系我们</a> | <a href=\"/law\">法律声明</a>\
             <p>版权所有 © {year} {} 未经许可不得转载</p></div>\n</body>\n</html>",
            around.site
        );
        self.put(&footer);
    }
}

/// Text inside HTML, also in attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
