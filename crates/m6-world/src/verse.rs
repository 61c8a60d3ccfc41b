//! Short verse in lines of five or seven characters. Lines 2 and 4 rhyme; every line fits its subject (ours).

use m6_store::rng::Stream;

/// What a subject gives to verse: openings of two characters, middles of two for long lines, endings of three.
struct Subject {
    heads: &'static [&'static str],
    middles: &'static [&'static str],
    /// Endings of odd lines.
    free: &'static [&'static str],
    /// Endings of even lines, one list per rhyme: -ang, -an.
    rhymed: [&'static [&'static str]; 2],
}

const SUBJECTS: [Subject; 9] = [
    Subject {
        heads: &["红花", "黄花", "小花", "春花", "粉花"],
        middles: &["朵朵", "静静", "一片", "今日"],
        free: &["开几朵", "风里笑", "开满树", "向人笑"],
        rhymed: [
            &["满院香", "向日光", "开路旁", "入我窗"],
            &["在门前", "满春天", "开水边", "上高山"],
        ],
    },
    Subject {
        heads: &["绿树", "大树", "高树", "春树", "老树"],
        middles: &["年年", "静静", "一片", "今日"],
        free: &["叶子多", "风吹动", "生新叶", "接白云"],
        rhymed: [
            &["立路旁", "影子长", "映小窗", "见日光"],
            &["立门前", "在春天", "到云边", "满青山"],
        ],
    },
    Subject {
        heads: &["小鱼", "红鱼", "黑鱼", "游鱼", "大鱼"],
        middles: &["三五", "轻轻", "对对", "自在"],
        free: &["水里游", "摇尾巴", "游得快", "出水面"],
        rhymed: [
            &["见日光", "在岸旁", "水中央", "游四方"],
            &["在水边", "绕小船", "乐一天", "出水间"],
        ],
    },
    Subject {
        heads: &["小船", "白帆", "一船", "风帆", "远船"],
        middles: &["轻轻", "慢慢", "悠悠", "今日"],
        free: &["水上走", "随风去", "过小河", "顺水行"],
        rhymed: [
            &["到远方", "在岸旁", "满日光", "去四方"],
            &["到天边", "在水边", "过青山", "入云间"],
        ],
    },
    Subject {
        heads: &["红日", "太阳", "白日", "朝阳", "日出"],
        middles: &["天天", "高高", "慢慢", "今日"],
        free: &["天上走", "照大地", "出东海", "照水面"],
        rhymed: [
            &["放红光", "照我窗", "照四方", "照山冈"],
            &["上青天", "出东山", "到天边", "照人间"],
        ],
    },
    Subject {
        heads: &["小房", "老屋", "我家", "人家", "白屋"],
        middles: &["静静", "安安", "远远", "今夜"],
        free: &["门不关", "灯火明", "开门早", "有花树"],
        rhymed: [
            &["在路旁", "开小窗", "迎日光", "饭菜香"],
            &["在山间", "靠水边", "对青山", "好过年"],
        ],
    },
    Subject {
        heads: &["小车", "汽车", "红车", "大车", "车轮"],
        middles: &["快快", "日日", "一路", "远远"],
        free: &["路上走", "走得快", "过大桥", "出门去"],
        rhymed: [
            &["去四方", "路又长", "到远方", "过山冈"],
            &["过青山", "到门前", "到天边", "上高山"],
        ],
    },
    Subject {
        heads: &["红果", "苹果", "秋果", "甜果", "小果"],
        middles: &["个个", "颗颗", "今日", "一树"],
        free: &["树上挂", "秋来熟", "甜又脆", "熟几个"],
        rhymed: [
            &["满园香", "映日光", "送客尝", "在筐旁"],
            &["大又圆", "挂枝间", "满秋山", "在眼前"],
        ],
    },
    Subject {
        heads: &["水杯", "茶杯", "小杯", "一杯", "白杯"],
        middles: &["满满", "静静", "日日", "今夜"],
        free: &["桌上放", "装清水", "装热茶", "送客人"],
        rhymed: [
            &["茶水香", "放桌旁", "映月光", "对小窗"],
            &["在桌边", "小又圆", "在手边", "到眼前"],
        ],
    },
];

/// Draws one poem: two, four or eight lines, all of five or all of seven characters, no line twice.
pub(crate) fn verse(stream: &mut Stream) -> Vec<String> {
    let long = stream.bool(0.5);
    let n_lines = *stream.choose(&[2, 4, 4, 4, 8]);
    let rhyme = stream.below(2) as usize;
    let mut order: Vec<usize> = (0..SUBJECTS.len()).collect();
    stream.shuffle(&mut order);
    let mut endings: Vec<&str> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    for i in 0..n_lines {
        // A couplet keeps its subject; the next couplet turns to another.
        let subject = &SUBJECTS[order[i / 2]];
        let pool = if i % 2 == 0 {
            subject.free
        } else {
            subject.rhymed[rhyme]
        };
        let fresh: Vec<&str> = pool
            .iter()
            .copied()
            .filter(|e| !endings.contains(e))
            .collect();
        let ending = *stream.choose(&fresh);
        endings.push(ending);
        let fresh: Vec<&str> = subject
            .heads
            .iter()
            .copied()
            .filter(|h| !lines.last().is_some_and(|l| l.starts_with(h)))
            .collect();
        let head = *stream.choose(&fresh);
        let middle = if long {
            *stream.choose(subject.middles)
        } else {
            ""
        };
        lines.push(format!("{head}{middle}{ending}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::SUBJECTS;
    use crate::World;
    use std::collections::BTreeSet;

    #[test]
    fn lines_are_equal_and_even_in_number() {
        let world = World::new(1, 64);
        let mut shapes = BTreeSet::new();
        for index in 0..2000 {
            let lines = world.verse(index);
            let length = lines[0].chars().count();
            assert!(length == 5 || length == 7, "{lines:?}");
            assert!(lines.iter().all(|l| l.chars().count() == length));
            assert_eq!(lines.len() % 2, 0);
            assert_eq!(lines.iter().collect::<BTreeSet<_>>().len(), lines.len());
            shapes.insert((length, lines.len()));
        }
        assert_eq!(shapes.len(), 6, "two lengths, three numbers of lines");
    }

    #[test]
    fn even_lines_rhyme() {
        const RHYMES: [&str; 2] = ["香光旁窗长央方冈尝", "前天边山船间年圆"];
        for subject in &SUBJECTS {
            for (endings, rhyme) in subject.rhymed.iter().zip(RHYMES) {
                for ending in *endings {
                    let last = ending.chars().last().unwrap();
                    assert!(rhyme.contains(last), "{ending}");
                }
            }
        }
        let world = World::new(2, 64);
        for index in 0..500 {
            let lines = world.verse(index);
            let ends: Vec<char> = lines
                .iter()
                .skip(1)
                .step_by(2)
                .map(|l| l.chars().last().unwrap())
                .collect();
            let one = RHYMES.iter().any(|r| ends.iter().all(|&c| r.contains(c)));
            assert!(one, "{lines:?}");
        }
    }

    #[test]
    fn poems_vary() {
        let world = World::new(3, 64);
        let poems: BTreeSet<Vec<String>> = (0..2000).map(|i| world.verse(i)).collect();
        assert!(poems.len() > 1900, "{}", poems.len());
    }
}
