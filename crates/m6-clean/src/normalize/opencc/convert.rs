//! Runs a conversion: cut the text, then apply the stages to each part.

use super::compat;
use super::derive;
use super::matcher::{Builder, Matcher, Sink};
use super::script::{Cut, Part, Script, Stage, TS};
use super::table::{Table, Tables};
use crate::{Error, Result};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Most passes of a steady conversion over one text. Two are the rule: one that changes and one that finds nothing.
const MAX_PASSES: usize = 8;

/// A conversion ready for use; shared freely between threads.
pub struct Converter {
    script: Script,
    /// Whether what it gives, given again, stays.
    steady: bool,
    /// Finds the cuts, where the first stage does not do so itself.
    cutter: Option<Matcher>,
    /// Whether the first stage cuts around its keys of rank 0.
    first_cuts: bool,
    stages: Vec<Matcher>,
}

impl Converter {
    /// Builds a conversion from the dictionaries the program carries.
    ///
    /// # Errors
    /// [`Error::Config`] when it needs one that is not carried.
    pub fn new(script: Script) -> Result<Self> {
        Self::with_tables(script, &Tables::built_in())
    }

    /// Builds a conversion from given dictionaries.
    ///
    /// # Errors
    /// [`Error::Config`] when it needs one that is absent, [`Error::Io`] and [`Error::Damaged`] for one that cannot be
    /// read.
    pub fn with_tables(script: Script, tables: &Tables) -> Result<Self> {
        Self::keeping(script, tables, &[])
    }

    /// Builds a conversion that leaves what it gave as it is (ours). OpenCC's do not: `乾縣` becomes `乾县`, a name, which read again
    /// becomes `干县`, since only the traditional writing is among the phrases. Here the phrases a conversion to simplified writes
    /// are phrases it reads too, and it is repeated until nothing changes. On traditional text it gives what OpenCC gives. Other
    /// conversions are those of [`Converter::with_tables`]: they mean different things of text that is already in their script.
    ///
    /// # Errors
    /// As for [`Converter::with_tables`].
    pub fn steady(script: Script, tables: &Tables) -> Result<Self> {
        let plain = Self::with_tables(script, tables)?;
        if !script.is_to_simplified() {
            return Ok(plain);
        }
        let mut kept = written(script, tables)?;
        kept.retain(|phrase| plain.convert(phrase) != *phrase);
        let mut own = Self::keeping(script, tables, &kept)?;
        own.steady = true;
        Ok(own)
    }

    /// Builds a conversion in which some phrases stand for themselves.
    fn keeping(script: Script, tables: &Tables, kept: &[String]) -> Result<Self> {
        let recipe = script.recipe();
        let stage = |layers: Stage| build(script, layers, tables, kept);
        let cutter = match recipe.cut {
            Cut::By(layers) => Some(stage(layers)?),
            Cut::None | Cut::ByFirstStage => None,
        };
        let stages = recipe
            .stages
            .iter()
            .copied()
            .map(stage)
            .collect::<Result<_>>()?;
        Ok(Self {
            script,
            steady: false,
            cutter,
            first_cuts: matches!(recipe.cut, Cut::ByFirstStage),
            stages,
        })
    }

    /// Which conversion it is.
    pub fn script(&self) -> Script {
        self.script
    }

    /// Whether what it gives, given again, stays: see [`Converter::steady`].
    pub fn is_steady(&self) -> bool {
        self.steady
    }

    /// Converts a text of any length; lines are independent of each other.
    pub fn convert(&self, text: &str) -> String {
        let mut out = self.pass(text);
        if self.steady && out != text {
            for _ in 1..MAX_PASSES {
                let next = self.pass(&out);
                if next == out {
                    break;
                }
                out = next;
            }
        }
        out
    }

    fn pass(&self, text: &str) -> String {
        let mut text = compat::fold(text);
        let mut sink = Cuts::default();
        if let Some(cutter) = &self.cutter {
            cutter.scan(&text, &mut sink);
        }
        let mut cuts = sink.ends;
        for (i, stage) in self.stages.iter().enumerate() {
            let cutting = i == 0 && self.first_cuts;
            let (next, ends) = run(stage, &text, &cuts, cutting);
            (text, cuts) = (Cow::Owned(next), ends);
        }
        text.into_owned()
    }
}

/// One stage over the parts of a text: the new text and its cuts.
fn run(stage: &Matcher, text: &str, cuts: &[usize], cutting: bool) -> (String, Vec<usize>) {
    let mut out = Written::with_capacity(text.len());
    if cutting {
        let mut sink = Cutting {
            out,
            ends: Vec::with_capacity(text.len() / 8),
        };
        stage.scan(text, &mut sink);
        return (sink.out.into_text(), sink.ends);
    }
    let mut ends = Vec::with_capacity(cuts.len());
    let mut start = 0;
    for &end in cuts.iter().chain([&text.len()]) {
        if let Some(part) = text.get(start..end).filter(|part| !part.is_empty()) {
            stage.scan(part, &mut out);
            ends.push(out.bytes.len());
        }
        start = end;
    }
    (out.into_text(), ends)
}

/// Text as it is written.
pub(super) struct Written {
    bytes: Vec<u8>,
}

impl Written {
    pub(super) fn with_capacity(n_bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(n_bytes + n_bytes / 64 + 16),
        }
    }

    /// What was written; every sink call appends whole characters.
    pub(super) fn into_text(self) -> String {
        String::from_utf8(self.bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
    }
}

impl Sink for Written {
    #[inline]
    fn keep(&mut self, part: &str) {
        self.bytes.extend_from_slice(part.as_bytes());
    }

    #[inline]
    fn put(&mut self, utf8: u32) {
        self.bytes.extend_from_slice(&utf8.to_le_bytes()[..3]);
    }

    #[inline]
    fn hit(&mut self, _n_bytes: usize, value: &str, _rank: u8) {
        self.bytes.extend_from_slice(value.as_bytes());
    }
}

/// Text as it is written, with a cut around every value of rank 0.
struct Cutting {
    out: Written,
    ends: Vec<usize>,
}

impl Cutting {
    fn cut(&mut self) {
        let at = self.out.bytes.len();
        if self.ends.last() != Some(&at) {
            self.ends.push(at);
        }
    }
}

impl Sink for Cutting {
    #[inline]
    fn keep(&mut self, part: &str) {
        self.out.keep(part);
    }

    #[inline]
    fn put(&mut self, utf8: u32) {
        self.out.put(utf8);
    }

    #[inline]
    fn hit(&mut self, n_bytes: usize, value: &str, rank: u8) {
        if rank > 0 {
            return self.out.hit(n_bytes, value, rank);
        }
        self.cut();
        self.out.hit(n_bytes, value, rank);
        self.cut();
    }
}

/// Only the cuts around the keys, in bytes of the text read.
#[derive(Default)]
struct Cuts {
    at: usize,
    ends: Vec<usize>,
}

impl Sink for Cuts {
    fn keep(&mut self, part: &str) {
        self.at += part.len();
    }

    fn put(&mut self, _utf8: u32) {
        self.at += 3;
    }

    fn hit(&mut self, n_bytes: usize, _value: &str, _rank: u8) {
        if self.at > 0 && self.ends.last() != Some(&self.at) {
            self.ends.push(self.at);
        }
        self.at += n_bytes;
        self.ends.push(self.at);
    }
}

/// Compiles a stage; the kept phrases go before all of its keys but the same ones.
fn build(script: Script, layers: Stage, tables: &Tables, kept: &[String]) -> Result<Matcher> {
    let mut builder = Builder::default();
    pairs(script, layers, tables, &mut |key, value, rank| {
        builder.add(key, value, rank)
    })?;
    kept.iter()
        .try_for_each(|phrase| builder.add(phrase, phrase, 0))?;
    Ok(builder.build())
}

/// The phrases that a conversion writes, each once.
fn written(script: Script, tables: &Tables) -> Result<Vec<String>> {
    let mut phrases = BTreeSet::new();
    for layers in script.recipe().stages {
        pairs(script, layers, tables, &mut |_, value, _| {
            if value.chars().nth(1).is_some() {
                phrases.insert(value.to_string());
            }
            Ok(())
        })?;
    }
    Ok(phrases.into_iter().collect())
}

/// Gives every key of a stage with its value and rank.
fn pairs(
    script: Script,
    layers: Stage,
    tables: &Tables,
    give: &mut dyn FnMut(&str, &str, u8) -> Result<()>,
) -> Result<()> {
    for layer in layers {
        let mut add = |key: &str, value: &str| give(key, value, layer.rank);
        let (name, found) = match layer.part {
            Part::Table(name) => (name, forward(tables, name, &mut add)?),
            Part::Back(name) => (name, backward(tables, name, &mut add)?),
            Part::Rare(name) => {
                let rare = with_table(tables, name, |table| {
                    table
                        .rare_pairs()
                        .try_for_each(|(key, value)| add(key, value))
                })?;
                (name, rare.is_some())
            }
            Part::Regional => {
                let words = derive::regional(tables)?;
                words.iter().try_for_each(|(key, value)| add(key, value))?;
                continue;
            }
        };
        if !found {
            return Err(Error::Config(format!(
                "{script} needs OpenCC's dictionary {name}.txt, which is not carried: give a folder that has it"
            )));
        }
    }
    Ok(())
}

/// Takes a key and its value.
type Add<'a> = &'a mut dyn FnMut(&str, &str) -> Result<()>;

/// Gives the pairs of a dictionary; `false` when there is none of that name.
fn forward(tables: &Tables, name: &str, add: Add<'_>) -> Result<bool> {
    let found = with_table(tables, name, |table| {
        table.pairs().try_for_each(|(key, value)| add(key, value))
    })?;
    Ok(found.is_some())
}

/// The same for a dictionary read backwards.
fn backward(tables: &Tables, name: &str, add: Add<'_>) -> Result<bool> {
    let found = with_table(tables, name, |table| {
        table
            .back_pairs()
            .iter()
            .try_for_each(|(key, value)| add(key, value))
    })?;
    Ok(found.is_some())
}

/// Gives a parsed dictionary to `use_it`; `None` when there is none of that name.
pub(super) fn with_table<T>(
    tables: &Tables,
    name: &str,
    use_it: impl FnOnce(&Table<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let Some((path, text)) = tables.text(name)? else {
        return Ok(None);
    };
    use_it(&Table::parse(&path, &text)?).map(Some)
}

/// Traditional to simplified, for deriving dictionaries.
pub(super) fn simplifier(tables: &Tables) -> Result<Matcher> {
    build(Script::T2s, TS, tables, &[])
}
