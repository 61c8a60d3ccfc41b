//! Traditional characters for the texts of the world.
//!
//! The world uses a few hundred characters, so a short table does. Characters whose traditional form depends on the word
//! (只, 干, 着, 游) are left as they are: both forms are written.

/// Simplified and traditional forms.
const PAIRS: [(&str, &str); 8] = [
    (
        "东两个为么乐于云从们会体侧关冈凉减几办动医单发变叶号后吗园围图",
        "東兩個為麼樂於雲從們會體側關岡涼減幾辦動醫單發變葉號後嗎園圍圖",
    ),
    (
        "圆坏墙头奖学宽对尝帮开张弯户挂摆摇数时杆条来树样桥楼横欢没浅滚",
        "圓壞牆頭獎學寬對嘗幫開張彎戶掛擺搖數時桿條來樹樣橋樓橫歡沒淺滾",
    ),
    (
        "满灯点爱环画礼离种积稳竖筑简红纯纸线组经绕给绿脚苹蓝装见认让识",
        "滿燈點愛環畫禮離種積穩豎築簡紅純紙線組經繞給綠腳蘋藍裝見認讓識",
    ),
    (
        "词说请谢贴车轮轻辆边过还这远连里长门问间阳随静顶顺颗题颜风饭鱼",
        "詞說請謝貼車輪輕輛邊過還這遠連裡長門問間陽隨靜頂順顆題顏風飯魚",
    ),
    (
        "黄网录联权处读评论页类别广华优购买卖价格应热闻资讯专栏户号导",
        "黃網錄聯權處讀評論頁類別廣華優購買賣價格應熱聞資訊專欄戶號導",
    ),
    (
        "书记级楼报举赞转载归档标签东货发运费图鉴词条义项编辑历史",
        "書記級樓報舉贊轉載歸檔標籤東貨發運費圖鑑詞條義項編輯歷史",
    ),
    (
        "订阅规则备帐户亿万与产业务员团队实验室师",
        "訂閱規則備帳戶億萬與產業務員團隊實驗室師",
    ),
    (
        "传统汉语简体显现观览视频标写较",
        "傳統漢語簡體顯現觀覽視頻標寫較",
    ),
];

/// The text in traditional characters.
pub(super) fn traditional(text: &str) -> String {
    text.chars().map(convert).collect()
}

fn convert(character: char) -> char {
    if character.is_ascii() {
        return character;
    }
    let found = PAIRS.iter().find_map(|(simplified, traditional)| {
        let at = simplified.chars().position(|s| s == character)?;
        traditional.chars().nth(at)
    });
    found.unwrap_or(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_bijection_on_its_characters() {
        let mut back = std::collections::BTreeMap::new();
        for (simplified, traditional) in PAIRS {
            assert_eq!(
                simplified.chars().count(),
                traditional.chars().count(),
                "{simplified}"
            );
            for (s, t) in simplified.chars().zip(traditional.chars()) {
                assert_eq!(*back.entry(t).or_insert(s), s, "{t}");
                assert_eq!(convert(s), t);
            }
        }
    }

    #[test]
    fn texts_of_the_world_are_converted() {
        assert_eq!(traditional("苹果长在树上。a"), "蘋果長在樹上。a");
        assert_eq!(traditional("图里有三条红色的鱼"), "圖裡有三條紅色的魚");
    }
}
